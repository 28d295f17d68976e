"""What a slice should hold by the plan's arithmetic: the estimate of the models that are loaded now.

Against 36 real totals of nvidia-smi the estimate's worst error was 4.8 %. Beyond three times that something
is not as planned: another quantisation under the same name, a context that a client asked for, a second
runner. Small models are off by more in per cent, for CUDA's own part differs from card to card.
"""

from typing import Any

from ollama_fleet.checks.model import Subject
from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.store import parse_name

MOST_SHARE = 0.15
# Of each model: each has a runner, with a CUDA context of its own.
MOST_MIB = 400


def planned_mib(subject: Subject, item: BoundSlice, loaded: list[dict[str, Any]]) -> float | None:
    """MiB of all GPUs of a slice for `loaded` (of /api/ps). None where the plan knows a model not, or where
    it is loaded with another context than planned, as a client may ask."""
    memory = [part for part in subject.plan.memory if part.owner == item.plan.name]
    contexts = {parse_name(one.model).shortest: one.context for one in item.plan.preload}
    usual = int(item.plan.environment.get("OLLAMA_CONTEXT_LENGTH", 0))
    names = set()
    for model in loaded:
        name = parse_name(str(model.get("name"))).shortest
        if model.get("context_length") not in (contexts.get(name, usual), None):
            return None
        names.add(name)
    parts = [
        (parse_name(use.model).shortest, use.mib)
        for part in memory
        for use in part.uses
        if parse_name(use.model).shortest in names
    ]
    return sum(mib for _, mib in parts) if names and {name for name, _ in parts} == names else None


def is_off(held_mib: int, planned: float, models: int) -> bool:
    """Whether what so many models hold is further from the plan than estimates are wrong."""
    off = abs(held_mib - planned)
    return off > MOST_SHARE * planned and off > MOST_MIB * models


def difference(held_mib: int, planned: float) -> str:
    """`19210 MiB planned (+1.2 %)`: how much more is held than planned."""
    return f"{planned:.0f} MiB planned ({held_mib / planned - 1:+.1%})".replace("%", " %")
