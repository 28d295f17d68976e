"""The gateway's own nginx: its configuration and the programs of its router, out of the plan. Pure."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from ollama_fleet.gateway import places
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.keys.rendering import KEYS_FILE, LIMITS_FILE, key_files
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.templating import MARKER, TEMPLATES, HostFile, render

# Variables that the router writes, without their prefix.
WRITTEN = (
    *("wanted", "nth", "pool", "path", "model", "body"),
    *("refusal", "fault", "tokens_in", "tokens_out", "tries"),
)
# Statuses with which the router refuses a request before its body is read.
GATED = (400, 401, 403, 404, 405, 500)
# What nginx itself ends a request with, each with the errors of its own that become it: what it cannot
# read, and what it refuses or the balancer does not answer.
UNREAD = {400: (400, 495, 496, 497, 501, 505), 408: (408,), 414: (414,), 431: (494,)}
REFUSED = (404, 413, 429, 500, 502, 503, 504)
# Of these, what the balancer says; all else is a slice's own answer.
UNANSWERED = (502, 503, 504)
# What slices are asked, and for how many seconds an answer is good for others: longer in fleets of which
# not all can be asked in a moment.
ASKED = ("/api/tags", "/api/ps", "/api/version")
KEPT_S, SLICES_PER_S = 2, 100

# Where the authority looks for ACME's challenges.
CHALLENGE_PORT = 80

# A word between quotes that nginx takes as it stands.
_WORD = re.compile(r"[A-Za-z0-9._/:@ -]+")


def nginx_files(plan: GatewayPlan, machine: Machine) -> list[HostFile]:
    """Every file of the gateway's nginx but certificates. The same values give the same bytes."""
    digest = nginx_digest(plan, machine)
    return [
        *key_files(plan.keys, plan),
        HostFile(places.NGINX_CONF, _configuration(plan, machine, digest)),
        *(HostFile(path, _program(path)) for path in places.PROGRAMS),
    ]


def nginx_digest(plan: GatewayPlan, machine: Machine) -> str:
    """What a gateway that has all of these in force answers at `places.STATUS_PATH`."""
    parts = [
        _configuration(plan, machine, ""),
        *map(_program, places.PROGRAMS),
        *(file.text for file in key_files(plan.keys, plan)),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def canonical_name(model: str) -> str:
    """The name under which the router looks a model up; `canonical` of api.js makes the same one."""
    name = model.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _configuration(plan: GatewayPlan, machine: Machine, digest: str) -> str:
    return render(
        "gateway/gateway.nginx.j2",
        marker=MARKER,
        modules_dir=machine.modules_dir,
        directory=places.GATEWAY_DIR,
        run_dir=places.RUN_DIR,
        log_dir=places.LOG_DIR,
        tls_dir=places.GATEWAY_TLS,
        pools_socket=places.POOLS_SOCKET,
        status_socket=places.STATUS_SOCKET,
        status_path=places.STATUS_PATH,
        keys_file=KEYS_FILE,
        limits_file=LIMITS_FILE,
        addresses=_addresses(plan, machine),
        port=plan.port,
        has_challenges=plan.tls.source == "acme",
        names=plan.names,
        webroot=places.ACME_ROOT,
        tls=plan.tls.source != "none",
        needs_key=int(plan.needs_key),
        max_body_mib=plan.max_body_mib,
        patience_s=plan.read_timeout_s + plan.wait_s,
        targets=[(_word(key), _word(to)) for key, to in _targets(plan).items()],
        items=[(_word(nth), _word(item)) for nth, item in _items(plan)],
        written=WRITTEN,
        gated=GATED,
        unread=UNREAD,
        refused=REFUSED,
        unanswered=UNANSWERED,
        asked=ASKED,
        kept_s=KEPT_S + len(plan.upstreams) // SLICES_PER_S,
        status_port=plan.metrics_port + 1 if plan.metrics_port else None,
        digest=digest,
    )


def _program(path: str) -> str:
    """As it stands: there are braces in it that a template would take for its own."""
    return (TEMPLATES / "gateway" / PurePosixPath(path).name).read_text(encoding="utf-8")


def _targets(plan: GatewayPlan) -> dict[str, str]:
    """What a request may name, and where it goes then: pool and model, or the pool of a slice."""
    found = {f"slice {one.name}": f"slice.{one.name}" for one in plan.upstreams}
    for pool in plan.pools:
        name = canonical_name(pool.model)
        # Two names of one model: the first is it.
        found.setdefault(name, f"{pool.name} {pool.model}")
        for member in pool.members:
            found.setdefault(f"{member.upstream} {name}", f"slice.{member.upstream} {pool.model}")
    return found


def _items(plan: GatewayPlan) -> Iterator[tuple[str, str]]:
    for nth, pool in enumerate(plan.pools):
        yield f"pool {nth}", f"{pool.name} {pool.model}"
    for nth, upstream in enumerate(plan.upstreams):
        yield f"slice {nth}", f"slice.{upstream.name}"


def _word(text: str) -> str:
    """`text` as one word of nginx's configuration."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text!r} cannot stand in nginx.conf")
    return f'"{text}"'


def ports(plan: GatewayPlan) -> tuple[int, ...]:
    """Where it listens for others than its own machine."""
    return (plan.port, *([CHALLENGE_PORT] if plan.tls.source == "acme" else []))


def _addresses(plan: GatewayPlan, machine: Machine) -> list[str]:
    if plan.listen:
        return [f"[{plan.listen}]" if ":" in plan.listen else plan.listen]
    return ["0.0.0.0", *(["[::]"] if machine.has_ipv6 else [])]
