"""What of Ollama is on a host: what it is asked, and its answers as `InstalledReleases`.

A release of ours has its archive's checksum in `.sha256`, and that file is as old as the last switch to
it. Imports planner, preflight and questions.
"""

import re
from dataclasses import dataclass

from ollama_fleet.fetching import DOWNLOADS_DIR
from ollama_fleet.planner.plan import PREFIX, HostPlan, Release
from ollama_fleet.preflight import ARCHITECTURES
from ollama_fleet.questions import Answers

CURRENT = f"{PREFIX}/current"
# Where the controller's copy arrives, by the login user's hand, before it is one of those.
INCOMING = f"{PREFIX}/incoming"

VERSION = r"\d+\.\d+\.\d+"
AMD_VENDOR = "0x1002"

_INSTALLED = f"""for digest in {PREFIX}/*/.sha256; do
    prefix=${{digest%/.sha256}}
    [ -s "$prefix/bin/ollama" ] && [ -x "$prefix/bin/ollama" ] && [ -d "$prefix/lib/ollama" ] || continue
    read -r value <"$digest" && echo "$prefix $value"
done; true"""

_ARCHIVES = f"""for archive in {DOWNLOADS_DIR}/*; do
    [ -f "$archive" ] && [ ! -L "$archive" ] && echo "${{archive##*/}}"
done; true"""

# Display controllers and accelerators of AMD; only built-ins, for a server has hundreds of functions.
_AMD = f"""for function in /sys/bus/pci/devices/*; do
    read -r vendor <"$function/vendor" && [ "$vendor" = {AMD_VENDOR} ] || continue
    read -r class <"$function/class" || continue
    case $class in 0x0300* | 0x0302* | 0x0380* | 0x1200*) echo "${{function##*/}}" ;; esac
done; true"""


@dataclass(frozen=True)
class InstalledReleases:
    """What of Ollama is on a host.

    `prefixes` maps the directory of a whole release to its archive's sha256; `archives` are the
    checksums whose archive waits to be unpacked; `stored` the versions that are ours, whole or not,
    the last one used first; `used` those that a process or a unit runs from; `leftovers` names below
    /opt/ollama that a cut run left. `stored` and `used` are empty where there is nothing to remove,
    `free_bytes` None where nothing has to be installed.
    """

    arch: str
    machine: str
    prefixes: dict[str, str]
    current: str
    archives: frozenset[str] = frozenset()
    jetpack: bool = False
    amd_gpus: tuple[str, ...] = ()
    free_bytes: int | None = None
    stored: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    leftovers: tuple[str, ...] = ()


def questions(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about Ollama."""
    return {**install_questions(plan.ollama), **old_question(plan.ollama)}


def install_questions(release: Release) -> dict[str, str]:
    """What has to be known to bring a release onto a host."""
    return {
        "machine": "uname -m",
        "installed": _INSTALLED,
        "current": f"readlink {CURRENT}; true",
        "archives": _ARCHIVES,
        "jetpack": "[ ! -e /etc/nv_tegra_release ] || echo yes",
        "amd": _AMD,
        "free": _free(release),
    }


def _free(release: Release) -> str:
    """Free bytes where releases go; no process where the release is there."""
    return f"""[ ! -x {release.binary} ] || exit 0
folder={PREFIX}
while [ ! -d "$folder" ]; do folder=${{folder%/*}}; [ -n "$folder" ] || folder=/; done
df -PB1 "$folder" | tail -n 1"""


def old_question(release: Release) -> dict[str, str]:
    """What may be removed: asked of processes and units only where there are more than are kept."""
    text = f"""cd {PREFIX} 2>/dev/null || exit 0
set --
for name in [0-9]*.fleet-new [0-9]*.fleet-old; do [ ! -d "$name" ] || echo "left $name"; done
[ ! -d {INCOMING} ] || find {INCOMING} -maxdepth 0 -mmin +1440 -printf 'left %f\\n'
for mark in [0-9]*.[0-9]*.[0-9]*/.sha256; do
    case $mark in *.fleet-*) continue ;; esac
    [ ! -f "$mark" ] || set -- "$@" "$mark"
done
[ $# -gt {release.keep_versions + 1} ] || exit 0
for mark in $(ls -t "$@"); do echo "stored ${{mark%/.sha256}}"; done
{{
    systemctl show -p ExecStart '*.service'
    readlink /proc/[0-9]*/exe
    cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'
}} 2>/dev/null | grep -aoE '{PREFIX}/[0-9]+[.][0-9]+[.][0-9]+/' | sort -u | sed 's/^/used /'
true"""
    return {"old": text}


def read_state(answers: Answers) -> InstalledReleases:
    """Answers to `questions`, or to a part of them."""
    machine = answers["machine"].text.strip()
    rows = [line.split() for line in answers["installed"].lines]
    old = answers["old"].lines if "old" in answers else []
    return InstalledReleases(
        arch=ARCHITECTURES.get(machine, machine),
        machine=machine,
        prefixes={row[0]: row[1] for row in rows if len(row) == 2},
        current=answers["current"].text.strip(),
        archives=frozenset(line.strip() for line in answers["archives"].lines),
        jetpack=answers["jetpack"].text.strip() == "yes",
        amd_gpus=tuple(line.strip() for line in answers["amd"].lines),
        free_bytes=_free_bytes(answers["free"].text.split()),
        stored=tuple(_versions(old, "stored ")),
        used=frozenset(_versions(old, f"used {PREFIX}/")),
        leftovers=tuple(line[5:] for line in old if re.fullmatch(r"left [\w.-]+", line)),
    )


def _free_bytes(row: list[str]) -> int | None:
    return int(row[-3]) if len(row) >= 6 and row[-3].isdigit() else None


def _versions(lines: list[str], start: str) -> list[str]:
    found = [re.fullmatch(rf"{re.escape(start)}({VERSION})/?", line) for line in lines]
    return [one[1] for one in found if one]
