"""Whether a slice's server found its GPUs when it started: what its log says where the driver does not
show it at work on them.

Ollama that finds no GPU serves from the CPU and looks healthy; it looks for GPUs at its start only. Who
holds memory on all of its GPUs has found them, and no log is read. A log may be long: only its beginning
is, of the process that runs.
"""

import re
from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.requests import FOLDER
from ollama_fleet.checks.shown_units import TABLE as UNITS
from ollama_fleet.planner.plan import BoundSlice, HostPlan

FIRST_LINES = 200
WORDS = (
    "inference compute",
    "driver too old",
    "could not verify NVIDIA driver",
    "compute capability not in compiled",
    "GPU discovery",
    "filtering device",
    "dropping",
)


def _questions(plan: HostPlan) -> dict[str, str]:
    """`holds <unit> <number>` for each slice, `said <unit> <line>` where that is fewer than its GPUs."""
    if not plan.slices:
        return {}
    least = "\n".join(f"    {item.unit}) least={len(item.gpus)} ;;" for item in plan.slices)
    return {
        "discovery": f"""root=/sys/fs/cgroup
[ -f $root/cgroup.controllers ] || root=$root/systemd
while read -r unit main group; do
    case $unit in
{least}
    *) continue ;;
    esac
    members=' ' held=0
    while read -r pid; do members="$members$pid "; done <"$root$group/cgroup.procs"
    while IFS=', ' read -r uuid pid rest; do
        case $members in *" $pid "*) held=$((held + 1)) ;; esac
    done <{FOLDER}/apps
    echo "holds $unit $held"
    [ "$held" -lt "$least" ] && [ "$main" != 0 ] || continue
    journalctl -q -b "_PID=$main" -o cat --no-pager | head -n {FIRST_LINES} | grep -E '{"|".join(WORDS)}' |
        while read -r line; do echo "said $unit $line"; done
done <{UNITS} 2>/dev/null"""
    }


def _discovery(subject: Subject) -> Iterator[CheckResult]:
    held: dict[str, int] = {}
    said: dict[str, list[str]] = {}
    for words in (line.split(" ", 2) for line in subject.text("discovery").splitlines()):
        if words[0] == "holds" and len(words) == 3 and words[2].isdigit():
            held[words[1]] = int(words[2])
        elif words[0] == "said" and len(words) == 3:
            said.setdefault(words[1], []).append(words[2])
    for item in subject.slices:
        yield from _of_slice(
            subject, item, held.get(item.plan.unit, 0), said.get(item.plan.unit, [])
        )


def _of_slice(
    subject: Subject, item: BoundSlice, held: int, said: list[str]
) -> Iterator[CheckResult]:
    wanted = len(item.plan.gpus)
    found = sum("inference compute" in line and "library=cpu" not in line for line in said)
    if held < wanted and not said:
        return  # its log is gone, or it does not run
    yield subject.result(
        item.plan.name,
        "gpu discovery",
        good=held >= wanted or found >= wanted,
        expected=f"its server found {wanted} {'GPUs' if wanted > 1 else 'GPU'} when it started",
        found="it holds memory there" if held >= wanted else _words(found, said),
        remedy=f"see `journalctl -u {item.plan.unit}`: what hid it from CUDA has to go; then "
        f"`systemctl restart {item.plan.unit}`, for it looks once",
    )


def _words(found: int, said: list[str]) -> str:
    why = [" ".join(line.split()) for line in said if "inference compute" not in line]
    message = [re.sub(r'.*\bmsg="?([^"]*)"?.*', r"\1", line)[:120] for line in why]
    where = f"{found} by its log" if found else "none by its log: it uses the CPU"
    return "; ".join(dict.fromkeys([where, *message]))


CHECK = Check("gpu discovery", _discovery, _questions)
