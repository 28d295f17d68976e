"""What surrounds the slices at the end of a run: what lets gateways in, what watches and repairs the slices,
and what keeps others out. A later step may have stopped it, or somebody else."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.shown_units import AROUND, surrounding_units
from ollama_fleet.planner.plan import HostPlan

UNITS = "ways"


def _questions(plan: HostPlan) -> dict[str, str]:
    return {UNITS: f"cat {AROUND}"} if surrounding_units(plan) else {}


def _running(subject: Subject) -> Iterator[CheckResult]:
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in subject.text(UNITS).split("\n\n")
    ]
    states = {block.get("Id"): block for block in blocks}
    for unit in surrounding_units(subject.plan):
        found = states.get(unit, {})
        words = f"{found.get('ActiveState', '?')}, {found.get('UnitFileState') or 'not installed'}"
        yield subject.result(
            "host",
            unit.removesuffix(".service"),
            words == "active, enabled",
            "active, enabled",
            words,
            f"see `journalctl -u {unit}`, then deploy again",
        )


CHECK = Check("ways", _running, _questions)
