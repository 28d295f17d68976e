"""Which slices serve each model, and how much of its requests each of them takes.

Frozen values, part of `GatewayPlan`. Imports the catalogue and the speed estimate.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ollama_fleet.catalogue import Model, find_gpu, find_model
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.spec.known import full_model_name
from ollama_fleet.speed import decode_speed

if TYPE_CHECKING:
    from ollama_fleet.planner.plan import HostPlan, SlicePlan

# HAProxy's weights.
MOST, UNKNOWN_SPEED = 256, 100


@dataclass(frozen=True)
class Member:
    """A slice in a pool; `weight` (1 to 256) is its estimated speed against the pool's fastest."""

    upstream: str
    parallel: int
    weight: int


@dataclass(frozen=True)
class ModelPool:
    """All slices that serve one model; `model` is its full name, with the tag."""

    model: str
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Its name in the balancer."""
        return f"model.{plain_name(self.model)}"


def pools_of(plans: Mapping[str, "HostPlan"]) -> Iterator[ModelPool]:
    """One pool per model, in the order of the models' names."""
    found: dict[str, list[tuple[str, int, float | None]]] = {}
    for name, plan in plans.items():
        for item in plan.slices if plan.removal is None else ():
            for model in map(full_model_name, item.models):
                speed = _tokens_per_s(model, item, plan.memory)
                found.setdefault(model, []).append(
                    (f"{name}.{item.name}", parallel_of(item), speed)
                )
    for model in sorted(found):
        rows = found[model]
        weights = _weights([speed for _, _, speed in rows])
        yield ModelPool(
            model,
            tuple(
                Member(upstream, parallel, weight)
                for (upstream, parallel, _), weight in zip(rows, weights, strict=True)
            ),
        )


def _weights(speeds: Sequence[float | None]) -> list[int]:
    """Of slices in one pool; alike where one's speed is unknown."""
    known = [speed for speed in speeds if speed]
    if len(known) < len(speeds):
        return [UNKNOWN_SPEED] * len(speeds)
    return [max(1, round(MOST * speed / max(known))) for speed in known]


def _tokens_per_s(model: str, item: "SlicePlan", memory: Iterable[GpuMemory]) -> float | None:
    """Estimated decode speed on the slice's GPUs; None where model or GPU are unknown."""
    own = [entry for entry in memory if entry.owner == item.name]
    try:
        shape = find_model(model.removesuffix(":latest"))
        speeds = [_speed_on(shape, entry, len(own)) for entry in own]
    except LookupError:
        return None
    return min(speeds, default=None)


def _speed_on(model: Model, entry: GpuMemory, gpus: int) -> float:
    name, profile = split_profile(entry.card)
    card = find_gpu(name)
    share = card.mig_profile(profile).memory_share if profile else 1.0
    return decode_speed(model, card, gpus=gpus, share=share).tokens_per_s


def split_profile(card: str) -> tuple[str, str | None]:
    """`A100-SXM4-40GB 3g.20gb` as card and MIG profile; None for a whole card."""
    name, _, last = card.rpartition(" ")
    return (name, last) if re.fullmatch(r"[1-7]g\.[0-9]+gb\S*", last) else (card, None)


def plain_name(text: str) -> str:
    """`text` as a name in the balancer's configuration; different texts stay different."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found.group()):02x}", text)


def parallel_of(item: "SlicePlan") -> int:
    """Requests of one model that a slice serves at the same time."""
    return int(item.environment["OLLAMA_NUM_PARALLEL"])
