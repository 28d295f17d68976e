"""A service of the gateway on its machine: what it is to be, what was found, and the steps between.

A changed configuration is reloaded, which no request notices; one that the program does not take is
taken back. Pure.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ollama_fleet.questions import Answers
from ollama_fleet.templating import UNIT_DIR, HostFile

# Shell, or a file to write.
Step = str | HostFile
# A unit's file has this mode from before its service's files are written until it runs with them: a run that
# is cut off in between leaves something that the next one sees, and restarts it.
UNFINISHED = "0444"


@dataclass(frozen=True)
class Service:
    """A unit with its files; `configuration` is what a reload brings into force, `others` what needs
    a restart.

    `digest` is of the configuration, and the shell `asks` prints that of the one in force. `test` is
    shell that fails on a configuration that cannot be, where the unit's own reload does not say so.
    """

    unit: str
    configuration: tuple[HostFile, ...]
    others: tuple[HostFile, ...]
    digest: str = ""
    asks: str = ""
    test: str = ":"


@dataclass(frozen=True)
class Found:
    """What a machine has: path to (mode, sha256), unit to its properties, unit to the digest in force."""

    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    in_force: Mapping[str, str] = field(default_factory=dict)


def questions(
    prefix: str, services: Sequence[Service], files: Sequence[HostFile]
) -> dict[str, str]:
    """What to ask about services and about files that are none's."""
    paths = " ".join(shlex.quote(file.path) for file in (*files, *files_of(services)))
    asked = {
        f"{prefix}.files": f"""set --
for path in {paths}; do [ ! -f "$path" ] || set -- "$@" "$path"; done
[ $# -eq 0 ] || {{ stat -c '%a:%U %n' "$@" | sed 's/:root / /' && sha256sum "$@"; }}""",
        f"{prefix}.units": "systemctl show -p Id,ActiveState,UnitFileState,NeedDaemonReload "
        + " ".join(service.unit for service in services),
    }
    for service in services:
        if service.asks:
            asked[f"{prefix}.{service.unit}"] = service.asks
    return asked


def read_found(prefix: str, services: Sequence[Service], answers: Answers) -> Found:
    """Answers to `questions`."""
    rows = [line.split(maxsplit=1) for line in answers[f"{prefix}.files"].lines]
    modes = {path: first for first, path in rows if len(first) != 64}
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in answers[f"{prefix}.units"].text.split("\n\n")
    ]
    return Found(
        files={path: (modes[path], first) for first, path in rows if len(first) == 64},
        units={block["Id"]: block for block in blocks if "Id" in block},
        in_force={
            service.unit: answers[f"{prefix}.{service.unit}"].text.strip()
            for service in services
            if service.asks
        },
    )


def files_of(services: Sequence[Service]) -> list[HostFile]:
    """Every file of some services."""
    return [file for service in services for file in (*service.configuration, *service.others)]


def changed(files: Sequence[HostFile], found: Found) -> list[HostFile]:
    """Those that are not there, or are others."""
    return [file for file in files if found.files.get(file.path) != as_found(file)]


def is_right(service: Service, found: Found) -> bool:
    """Whether a service is exactly as it is to be, in files and in force."""
    unit = found.units.get(service.unit, {})
    return (
        not changed(files_of([service]), found)
        and unit.get("ActiveState") == "active"
        and unit.get("UnitFileState") == "enabled"
        and unit.get("NeedDaemonReload") != "yes"
        and (not service.asks or found.in_force.get(service.unit) == service.digest)
    )


def service_steps(
    services: Sequence[Service], files: Sequence[HostFile], found: Found, before: Sequence[str] = ()
) -> list[Step]:
    """What brings services and files into force; empty when they are. `before`: steps for what has to
    be there first."""
    wrong = [service for service in services if not is_right(service, found)]
    write = changed([*files, *files_of(services)], found)
    if not wrong and not write:
        return []
    marks = {file.path: file for service in wrong for file in _marks(service, found)}
    unwritten = [path for path in marks if path not in {file.path for file in write}]
    steps: list[Step] = [*before, _keep([*(file.path for file in write), *unwritten])]
    steps += [f"[ ! -f {path} ] || chmod {UNFINISHED} {path}" for path in unwritten]
    steps += [replace(file, mode=UNFINISHED) if file.path in marks else file for file in write]
    steps.append("systemctl daemon-reload")
    for service in wrong:
        steps += _into_force(service, found)
        steps += [f"chmod {file.mode} {file.path}" for file in _marks(service, found)]
    return [*steps, _DONE]


def _marks(service: Service, found: Found) -> list[HostFile]:
    """The unit's own file, where a change needs a restart."""
    own = [file for file in service.others if file.path == f"{UNIT_DIR}/{service.unit}"]
    return own if changed(service.others, found) else []


def as_found(file: HostFile) -> tuple[str, str]:
    return file.mode.lstrip("0"), hashlib.sha256(file.text.encode()).hexdigest()


def _keep(paths: Sequence[str]) -> str:
    return _KEEP.format(paths=" ".join(map(shlex.quote, paths)))


def _into_force(service: Service, found: Found) -> list[str]:
    restart = changed(service.others, found)
    in_force = f'[ "$({service.asks} 2>/dev/null)" = {service.digest} ]' if service.asks else ":"
    return [
        _INTO_FORCE.format(
            unit=service.unit,
            test=service.test,
            how="restart" if restart else "reload-or-restart",
            in_force=in_force,
        )
    ]


_KEEP = """
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
written="{paths}"
for path in $written; do
    [ ! -f "$path" ] || {{ mkdir -p "$kept${{path%/*}}" && cp -p "$path" "$kept$path"; }}
done
begun=
take_back() {{ # take_back WHY: the files as they were before, and in force again
    for path in $written; do
        if [ -f "$kept$path" ]; then cp -p "$kept$path" "$path"; else rm -f "$path"; fi
    done
    systemctl daemon-reload
    for unit in $begun; do
        systemctl reload-or-restart "$unit" 2>/dev/null || :
    done
    fail "$1; the configuration is as it was"
}}
"""
_INTO_FORCE = """
said=$({test} 2>&1) || take_back "the configuration of {unit} is not taken: $said"
begun="$begun {unit}"
systemctl enable -q {unit}
systemctl reset-failed {unit} 2>/dev/null || :
if systemctl is-active -q {unit}; then
    say 'changing {unit}'
    systemctl {how} {unit} || take_back "{unit} does not take it: $(journalctl -u {unit} -n 5 -o cat)"
else
    say 'starting {unit}'
    systemctl start {unit} || take_back "{unit} does not start: $(journalctl -u {unit} -n 5 -o cat)"
fi
tries=0
until {in_force}; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] ||
        take_back "{unit} runs, but not with this configuration: $(journalctl -u {unit} -n 3 -o cat)"
    sleep 0.2
done
"""
_DONE = 'rm -rf "$kept"\ntrap - EXIT'
