"""The files of ours on a host with slices: where they may lie, how a host is asked for them, which of
those that were found the slices' step and its proof answer for.

Imports the planner's values, the places of the other steps and the comparison's types; no pyinfra.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ollama_fleet.client import CLIENT, COMMAND, PROFILE, SLICE_COMMAND, SLICES_FILE
from ollama_fleet.convergence import MANIFEST
from ollama_fleet.fetching import FETCH_SCRIPT, MODELS_JOB
from ollama_fleet.firewall.rules import UNIT_FILE as FIREWALL_UNIT
from ollama_fleet.gateway.places import OF_GATEWAY, OF_HOP, is_cared_for
from ollama_fleet.metrics.places import FILES as MONITORING_FILES
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE
from ollama_fleet.mig.parted import PARTED_FILE
from ollama_fleet.monitor.places import OF_MONITOR
from ollama_fleet.planner.plan import SCRUB_TIMER, HostPlan
from ollama_fleet.render import DEVICES_SCRIPT, Rendered
from ollama_fleet.selfcheck.places import SCRIPT as SELFCHECK
from ollama_fleet.selfcheck.places import TIMER as SELFCHECK_TIMER
from ollama_fleet.templating import MARKER, UNIT_DIR
from ollama_fleet.warm import SCRIPT as WARM_SCRIPT
from ollama_fleet.watching import places as watching

PLACES = (
    f"{UNIT_DIR}/ollama-*.service",
    f"{UNIT_DIR}/ollama-*.service.d/*.conf",
    f"{UNIT_DIR}/ollama.target",
    f"{UNIT_DIR}/{SCRUB_TIMER}",
    f"{UNIT_DIR}/{SELFCHECK_TIMER}",
    SELFCHECK,
    "/etc/sysusers.d/ollama.conf",
    "/etc/tmpfiles.d/ollama.conf",
    FETCH_SCRIPT,
    MODELS_JOB,
    DEVICES_SCRIPT,
    GPUS_SCRIPT,
    LAYOUT_FILE,
    PARTED_FILE,
    WARM_SCRIPT,
    CLIENT,
    PROFILE,
    SLICE_COMMAND,
    SLICES_FILE,
    *(path for path in (*OF_HOP, *OF_GATEWAY) if not path.startswith(UNIT_DIR)),
    *watching.FILES,
)
# Files with a step of their own.
OF_OTHERS = (FIREWALL_UNIT, *MONITORING_FILES)
# What a host says when somebody else's program lies at COMMAND.
OTHER = "other"

QUESTIONS = {
    # What lies at COMMAND may be a large program: only its second line is read. An owner is told where
    # it is not root: what a unit runs as root is nobody else's to write.
    "files": f"""set -- $(grep -lsF '{MARKER}' {" ".join(PLACES)})
{{ read -r line && read -r line; }} 2>/dev/null <{COMMAND} || line=
case $line in *'{MARKER}'*) set -- "$@" {COMMAND} ;; esac
[ $# -eq 0 ] || {{ stat -c '%a:%U %n' "$@" | sed 's/:root / /' && sha256sum "$@"; }}""",
    "manifest": f"cat {MANIFEST} 2>/dev/null; true",
    "command": f"[ ! -f {COMMAND} ] || [ -L {COMMAND} ] || echo {OTHER}",
}

Files = Mapping[str, tuple[str, str]]


def read_files(lines: list[str]) -> dict[str, tuple[str, str]]:
    """`644 /path` lines, then `<sha256>  /path` lines, as path to (mode, sha256). A file that is not
    root's has its owner behind its mode: `644:ollama`."""
    rows = [row for line in lines if len(row := line.split(maxsplit=1)) == 2]
    modes = {path: first for first, path in rows if len(first) != 64}
    return {path: (modes.get(path, "?"), first) for first, path in rows if len(first) == 64}


def read_manifest(text: str) -> dict[str, str]:
    """The manifest that the last run left: path to sha256."""
    rows = [line.split("  ", 1) for line in text.splitlines()]
    return {row[1]: row[0] for row in rows if len(row) == 2}


def of_slices(plan: HostPlan, found: Files) -> dict[str, tuple[str, str]]:
    """Those that no other step compares."""
    return dict(_of_slices(plan, found))


def _of_slices(plan: HostPlan, found: Files) -> Iterator[tuple[str, tuple[str, str]]]:
    for path, file in found.items():
        of_monitor = plan.is_monitor and path in OF_MONITOR
        of_others = is_cared_for(plan, path) or watching.is_cared_for(plan, path)
        if path not in OF_OTHERS and not of_others and not of_monitor:
            yield path, file


def but_for_others(wanted: Rendered, found: Files, command: str) -> Rendered:
    """A program that somebody else put at COMMAND stays; `command` is the answer to that question."""
    if command != OTHER or COMMAND in found:
        return wanted
    return replace(wanted, files=tuple(file for file in wanted.files if file.path != COMMAND))
