"""A host's part of the gateway: the nginx through which gateways reach its slices."""

import hashlib

from ollama_fleet.gateway import places
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render
from ollama_fleet.watching import places as watching
from ollama_fleet.watching.health import health_files

# Requests that run when the hop stops may end.
STOP_S = 60
# How long gateways get to let their connections go before a reload; they drop half of the idle ones each
# second (pool-purge-delay in balancer.cfg).
LEAVING_S = 5

# As in api.js, which says what the gateway takes.
OFFERED = (
    *("/", "/api/version", "/api/tags", "/api/ps", "/v1/models"),
    *("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show"),
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"),
)


def hop_files(plan: HostPlan, machine: Machine) -> list[HostFile]:
    """Every file of the hop and of the health watch; none where there is no gateway."""
    if plan.hop is None:
        return []
    return [
        sysusers_file(),
        HostFile(places.HOP_CONF, configuration(plan, machine)),
        HostFile(f"{UNIT_DIR}/{places.HOP_UNIT}", _hop_unit()),
        *health_files(plan),
    ]


def sysusers_file() -> HostFile:
    """The account of everything that is the gateway's."""
    text = render("gateway/sysusers.conf.j2", marker=MARKER, user=places.USER)
    return HostFile(places.SYSUSERS, text)


def configuration(plan: HostPlan, machine: Machine) -> str:
    """The hop's nginx.conf; `places.STATUS_PATH` of the running one answers with its digest."""
    return _configuration(plan, machine, configuration_digest(plan, machine))


def configuration_digest(plan: HostPlan, machine: Machine) -> str:
    """What a hop that has this configuration in force answers."""
    return hashlib.sha256(_configuration(plan, machine, "").encode()).hexdigest()


def _configuration(plan: HostPlan, machine: Machine, digest: str) -> str:
    assert plan.hop
    return render(
        "gateway/hop.nginx.j2",
        marker=MARKER,
        host=plan.host,
        run_dir=places.HOP_RUN_DIR,
        socket=places.HOP_SOCKET,
        leaving=places.HOP_LEAVING,
        slices=[(f"{plan.host}.{item.name}", item.name, item.port) for item in plan.slices],
        offered=OFFERED,
        listen=_listen(plan.hop.listen_port, machine),
        gateways=[name[: places.LONGEST_NAME] for name in plan.hop.gateways],
        tls_dir=places.HOP_TLS,
        status_path=places.STATUS_PATH,
        health_path=places.HEALTH_PATH,
        health_dir=watching.HEALTH_DIR,
        quarantine_dir=watching.WATCHDOG_STATE,
        drained_now=places.DRAINED_NOW,
        drained_long=places.DRAINED_LONG,
        digest=digest,
        read_timeout_s=plan.hop.read_timeout_s,
    )


def _listen(port: int | None, machine: Machine) -> list[str]:
    if port is None:
        return []
    return [str(port), *([f"[::]:{port}"] if machine.has_ipv6 else [])]


def _hop_unit() -> str:
    return render(
        "gateway/ollama-hop.service.j2",
        marker=MARKER,
        user=places.USER,
        nginx=NGINX,
        configuration=places.HOP_CONF,
        socket=places.HOP_SOCKET,
        leaving=places.HOP_LEAVING,
        leaving_s=LEAVING_S,
        stop_s=STOP_S,
    )


def port_files(plan: HostPlan, machine: Machine) -> list[HostFile]:
    """Those of its files that say where slices listen; the hop's configuration is reloaded for it, the
    health watch started anew."""
    ours = (places.HOP_CONF, watching.HEALTH_JOB)
    return [file for file in hop_files(plan, machine) if file.path in ours]


def hop_services(plan: HostPlan, machine: Machine) -> list[Service]:
    """The hop's nginx and the health watch."""
    unit = f"{UNIT_DIR}/{places.HOP_UNIT}"
    files = {file.path: file for file in hop_files(plan, machine)}
    return [
        Service(
            places.HOP_UNIT,
            configuration=(files[places.HOP_CONF],),
            others=(files[unit],),
            digest=configuration_digest(plan, machine),
            asks=f"curl --noproxy '*' -fsS --max-time 5 --unix-socket {places.HOP_SOCKET} "
            f"http://localhost{places.STATUS_PATH}",
        ),
        Service(
            watching.HEALTH_UNIT,
            configuration=(),
            others=tuple(health_files(plan)),
        ),
    ]
