"""Slices that an operator has taken out of service: what is asked of a host, what it says, and the shell
that changes it. A mark is a file that says who, when and why; it holds over deploys and boots.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from ollama_fleet.draining import DRAINED_DIR
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.questions import Answers

MARKS = "drained"
REQUESTS = "drained.requests"


@dataclass(frozen=True)
class Mark:
    """One such slice: since when (UTC), by whom, and why, where somebody said."""

    since: str
    by: str
    reason: str = ""

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"drained since {self.since} by {self.by}{why}"


def marks_question() -> dict[str, str]:
    """What to ask a host about its marks."""
    return {MARKS: f"cd {DRAINED_DIR} 2>/dev/null && grep -sH '' -- *; true"}


def read_marks(answers: Answers) -> dict[str, Mark]:
    """Slice to its mark."""
    said: dict[str, dict[str, str]] = {}
    for line in answers[MARKS].lines:
        name, _, text = line.partition(":")
        key, _, value = text.partition(" ")
        said.setdefault(name, {})[key] = value
    return {
        name: Mark(of.get("since", "some time"), of.get("by", "somebody"), of.get("reason", ""))
        for name, of in said.items()
    }


def requests_question(plan: HostPlan) -> dict[str, str]:
    """How many requests each slice serves: one line `<name> <count>` for each. The host's own look at the
    slice's health is none: it is over soon."""
    look = "\n".join(f"echo {item.name} $({_open([item.port])})" for item in plan.slices)
    again = f'[ "$({_open([item.port for item in plan.slices])})" -eq 0 ] || sleep 2'
    return {REQUESTS: f"{again}\n{look}" if plan.slices else "true"}


def read_requests(answers: Answers) -> dict[str, int]:
    """Slice to the requests that it serves."""
    rows = [line.split() for line in answers[REQUESTS].lines]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def mark_script(names: Iterable[str], mark: Mark) -> str:
    """Shell that marks slices. It needs no lock and takes no claim: it may be urgent."""
    text = f"since {mark.since}\nby {mark.by}\n" + (
        f"reason {mark.reason}\n" if mark.reason else ""
    )
    puts = [
        f"printf %s {shlex.quote(text)} >{path}.new && mv -fT {path}.new {path}"
        for path in map(_path, names)
    ]
    return "\n".join(["set -eu", "umask 022", f"mkdir -p {DRAINED_DIR}", *puts])


def unmark_script(names: Iterable[str]) -> str:
    """Shell that takes marks away."""
    paths = " ".join(map(_path, names))
    return (
        f"set -eu\nrm -f {paths}\nrmdir --ignore-fail-on-non-empty {DRAINED_DIR} 2>/dev/null || :"
    )


def wait_script(slices: Iterable[SlicePlan], wait_s: int, notice_s: int) -> str:
    """Shell that waits until no request runs, and no longer than `wait_s`; it changes nothing."""
    ports = [item.port for item in slices]
    return f"""sleep {min(notice_s, wait_s)}
waited={notice_s}
while [ "$({_open(ports)})" -gt 0 ] && [ $waited -lt {wait_s} ]; do
    sleep 1
    waited=$((waited + 1))
done"""


def _path(name: str) -> str:
    return f"{DRAINED_DIR}/{shlex.quote(name)}"


def _open(ports: Iterable[int]) -> str:
    """Counts connections: see `draining`."""
    listed = " ".join(f"{port:04X}" for port in ports)
    return (
        f"cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v ports=' {listed} ' "
        """'{ n = split($2, end, ":") } $4 == "01" && index(ports, " " end[n] " ") { count++ } """
        "END { print count + 0 }'"
    )
