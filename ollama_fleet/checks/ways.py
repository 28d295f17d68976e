"""A host's part of the gateway at the end of a run: what lets gateways in, what watches the slices for them,
and what keeps others out. A later step may have stopped it, or somebody else."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.firewall.rules import UNIT as FIREWALL_UNIT
from ollama_fleet.gateway.places import HEALTH_UNIT, HOP_UNIT
from ollama_fleet.planner.plan import HostPlan

UNITS = "ways"


def _units(plan: HostPlan) -> list[str]:
    of_gateway = [HOP_UNIT, HEALTH_UNIT] if plan.hop else []
    return of_gateway + ([FIREWALL_UNIT] if plan.firewall.mode != "off" else [])


def _questions(plan: HostPlan) -> dict[str, str]:
    units = _units(plan)
    return (
        {UNITS: f"systemctl show -p Id,ActiveState,UnitFileState {' '.join(units)}"}
        if units
        else {}
    )


def _running(subject: Subject) -> Iterator[CheckResult]:
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in subject.text(UNITS).split("\n\n")
    ]
    states = {block.get("Id"): block for block in blocks}
    for unit in _units(subject.plan):
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
