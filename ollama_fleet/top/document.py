"""The fleet as it is now, for programs: the nouns of `model` as JSON, under the names of their fields."""

from dataclasses import asdict
from typing import Any

from ollama_fleet.top.model import FleetNow

VERSION = 1


def document(fleet: FleetNow) -> dict[str, Any]:
    """`alarms` stand once, the worst first; a value that nobody could tell is null."""
    machines = [_rounded(asdict(machine)) for machine in fleet.machines]
    for machine in machines:
        del machine["alarms"]
    return {
        "version": VERSION,
        "inventory": fleet.inventory,
        "at": fleet.at,
        "reached": fleet.reached,
        "alarms": [asdict(alarm) for alarm in fleet.alarms],
        "machines": machines,
    }


def _rounded(value: Any) -> Any:
    """Three digits are more than any of these figures is good for."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value
