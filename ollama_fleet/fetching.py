"""Downloads of a host as jobs: what stands in them, how their units are started and waited for. Pure text.

The host works alone: a transient unit runs `templates/ollama-fetch.sh.j2` on a job file and outlives
the deploy that started it; the next one finds it, joins it, and shows how far it is.
"""

import base64
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ollama_fleet.planner.plan import PREFIX, USER, HostPlan
from ollama_fleet.store import ModelName, parse_name

FETCH_SCRIPT = f"{PREFIX}/libexec/ollama-fetch"
MODELS_JOB = "/etc/ollama/fetch-models"
DOWNLOADS_DIR = f"{PREFIX}/download"
# After the first failure in a row it waits 1 s, then 3, 5, 7.
TRIES = 4
SANDBOX = (
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0022",
    "Nice=10",
)
# Unit files may say these anywhere; systemd-run knows them from 242 on, and the one of RHEL 8 refuses both.
NEWER_SANDBOX = ("RestrictSUIDSGID=yes", "LockPersonality=yes")
NEWER_FROM = 242


@dataclass(frozen=True)
class FetchUnit:
    """A transient unit that runs one job: `user` None is root; it may write to `writes` only."""

    name: str
    job: str
    writes: str
    user: str | None = None

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"{self.name}.service"

    @property
    def state(self) -> str:
        """Where it says how far it is."""
        return f"/run/{self.name}"


def models_unit(plan: HostPlan) -> FetchUnit:
    """The unit that fills the model store."""
    return FetchUnit("ollama-fetch-models", MODELS_JOB, plan.store.path, USER)


RELEASE_UNIT = FetchUnit("ollama-fetch-release", "/run/ollama-fleet/fetch-release", DOWNLOADS_DIR)


def archive_path(digest: str) -> str:
    """Where a release archive lies, once it is whole."""
    return f"{DOWNLOADS_DIR}/{digest}"


def release_job(plan: HostPlan, url: str, digest: str) -> str:
    """The job that brings a release archive."""
    rows = [
        *_limits(plan),
        f"file Ollama-{plan.ollama.version} {archive_path(digest)} {digest} {url}",
    ]
    return _text(rows)


def models_job(plan: HostPlan) -> str:
    """The job that makes the store as the plan says; the same plan gives the same text."""
    store = plan.store
    rows = [f"store {store.path}", *_limits(plan)]
    for model in plan.pulled:
        name, locked = parse_name(model), store.lock_of(model)
        base = blobs_base(name, plan.ollama.registry)
        digest = locked.digest if locked else "-"
        rows.append(f"model {model} {name.path} {base} {name.tag} {digest}")
        if locked:
            text = base64.b64encode(locked.manifest.encode()).decode()
            rows.append(f"locked {digest} {text}")
    for custom in plan.custom:
        rows.append(f"keep {parse_name(custom.name).path}")
        if custom.kind == "url":
            rows.append(f"source {custom.name} {custom.sha256} {custom.source}")
    rows += [f"absent {parse_name(model).path}" for model in store.absent]
    rows.append(f"keep_unlisted {'yes' if store.keep_unlisted else 'no'}")
    return _text(rows)


def blobs_base(name: ModelName, registry: str | None) -> str:
    """Address under which a model's manifests and blobs are; `registry` stands for the public one."""
    base = registry if registry and name.is_public else f"https://{name.host}"
    return f"{base.rstrip('/')}/v2/{name.namespace}/{name.model}"


def _limits(plan: HostPlan) -> list[str]:
    """`rate` is that of one transfer: as many models as there may be at once, and a release beside
    them."""
    wanted = plan.downloads
    rows = [f"parallel {wanted.parallel}", f"tries {TRIES}"]
    if wanted.rate_bytes_s:
        models = min(wanted.parallel, len(plan.models))
        rows.append(f"rate {wanted.rate_bytes_s // (models + 1)}")
    return rows


def _text(rows: list[str]) -> str:
    head = "# Managed by Ollama Fleet; changes here are undone by the next deploy."
    return "\n".join([head, *rows]) + "\n"


def start_step(fetch: FetchUnit, what: str, environment: Mapping[str, str]) -> str:
    """Shell that starts a unit on its job; one that is at this very job already goes on.

    `what` it brings, for people.
    """
    who = [f"User={fetch.user}", f"Group={fetch.user}"] if fetch.user else []
    properties = [
        "Type=exec",
        *who,
        *SANDBOX,
        f"ReadWritePaths={fetch.writes}",
        f"RuntimeDirectory={fetch.name}",
        "RuntimeDirectoryPreserve=yes",
    ]
    arguments = [
        f"--unit={fetch.name}",
        *(f"--property={line}" for line in properties),
        *(f"--setenv={name}={value}" for name, value in environment.items()),
    ]
    newer = " ".join(f"--property={line}" for line in NEWER_SANDBOX)
    return f"""
if systemctl is-active --quiet {fetch.unit} && cmp -s {fetch.job} {fetch.state}/job; then
    say 'joining a download that is running: {what}'
else
    say 'downloading {what}'
    systemctl stop {fetch.unit} ollama-scrub.service 2>/dev/null || :
    rm -rf {fetch.state}/items {fetch.state}/job
    version=$(systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p') newer=
    [ "${{version:-0}}" -lt {NEWER_FROM} ] || newer='{newer}'
    systemd-run --quiet --collect {" ".join(map(shlex.quote, arguments))} $newer \\
        {FETCH_SCRIPT} run {fetch.job} {fetch.state} ||
        fail 'cannot start {fetch.unit}'
fi"""


def wait_script(fetch: FetchUnit) -> str:
    """Shell that shows how far a unit is until it is over, and fails if it did not do its job.

    It takes no lock and changes nothing: it may be cut off at any time. It reads what the unit wrote,
    and so with no more rights than the unit had.
    """
    return f"exec {_as_unit(fetch)}{FETCH_SCRIPT} wait {fetch.unit} {fetch.state}\n"


def moved_question(fetch: FetchUnit) -> str:
    """Shell that prints `<model> <sha256>` for each locked model whose tag the last run found moved; with
    the unit's rights, likewise."""
    look = f"""for moved in {fetch.state}/items/*/moved; do
    [ -s "$moved" ] || continue
    read -r _ name _ <"${{moved%/*}}/line" && read -r digest <"$moved" && echo "$name $digest"
done"""
    return f"{_as_unit(fetch)}sh -c {shlex.quote(look)} 2>/dev/null; true"


def _as_unit(fetch: FetchUnit) -> str:
    """The beginning of a command that has no more rights than the unit."""
    if fetch.user is None:
        return ""
    return f"setpriv --reuid={fetch.user} --regid={fetch.user} --init-groups "
