"""Does a model fit on some GPUs, with how much context, and what would fit instead.

The questions that `fleet fit` and the ranking ask of the memory estimate; imports that and the
catalogue.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ollama_fleet.catalogue import Gpu, KvCache, MigProfile, Model, all_models
from ollama_fleet.vram import FIT_TARGET_MIB, Estimate, EstimateError, estimate, largest_context

MOST_GPUS = 16
CONTEXT_STEP = 256


@dataclass(frozen=True)
class Room:
    """Equal GPUs that one model may be split over, or one MIG instance of one GPU."""

    gpu: Gpu
    gpus: int = 1
    profile: MigProfile | None = None

    @property
    def usable_mib(self) -> int:
        """Memory that CUDA hands out on each of them when it is empty."""
        return self.profile.memory_mib(self.gpu) if self.profile else self.gpu.usable_mib

    @property
    def flash_attention(self) -> bool:
        """Whether Ollama uses it there by itself."""
        return self.gpu.flash_attention

    @property
    def name(self) -> str:
        """For people: `2 × NVIDIA GeForce RTX 3090`, `NVIDIA H200 1g.18gb`."""
        many = f"{self.gpus} × " if self.gpus > 1 else ""
        return f"{many}{self.gpu.name}" + (f" {self.profile.name}" if self.profile else "")


@dataclass(frozen=True)
class Demand:
    """What a model is asked to hold; flash attention None: as Ollama decides by the GPU."""

    context: int
    parallel: int = 1
    kv_cache: KvCache = "f16"
    flash_attention: bool | None = None

    def flash_on(self, room: Room | None) -> bool:
        """Whether flash attention is on there."""
        if self.flash_attention is not None:
            return self.flash_attention
        return room is None or room.flash_attention


def memory(model: Model, demand: Demand, room: Room | None = None, gpus: int = 1) -> Estimate:
    """The estimate on these GPUs, or on `gpus` GPUs of no known kind. Raises EstimateError."""
    return estimate(
        model,
        context=demand.context,
        parallel=demand.parallel,
        kv_cache=demand.kv_cache,
        flash_attention=demand.flash_on(room),
        gpus=room.gpus if room else gpus,
        gpu=room.gpu if room else None,
        free_mib=room.usable_mib * room.gpus if room else None,
    )


def fits(answer: Estimate, room: Room) -> bool:
    """Whether every GPU holds its share, its margin, and what llama-server keeps free."""
    return kept_mib(answer) <= room.usable_mib


def kept_mib(answer: Estimate) -> float:
    """The most that any GPU must have: what it holds, and the larger of margin and fit target."""
    return max(share.total_mib + max(share.margin.mib, FIT_TARGET_MIB) for share in answer.per_gpu)


def largest(model: Model, demand: Demand, room: Room) -> int:
    """Most tokens per request that fit on these GPUs; 0 where not even 256 do."""
    available, context = float(room.usable_mib), -1
    while context:
        context = largest_context(
            model,
            available,
            parallel=demand.parallel,
            kv_cache=demand.kv_cache,
            flash_attention=demand.flash_on(room),
            gpus=room.gpus,
            gpu=room.gpu,
        )
        over = _over_mib(model, replace(demand, context=context), room) if context else 0.0
        if over <= 0:
            return _climbed(model, demand, room, context)
        available -= over
    return 0


def _climbed(model: Model, demand: Demand, room: Room, context: int) -> int:
    """Further up while it fits: where Ollama takes a smaller batch, less memory is needed than before,
    and halving the range alone would stop below that step."""
    while 0 < context < model.max_context:
        more = min(context + CONTEXT_STEP, model.max_context)
        if _over_mib(model, replace(demand, context=more), room) > 0:
            break
        context = more
    return context


def _over_mib(model: Model, demand: Demand, room: Room) -> float:
    return kept_mib(memory(model, demand, room)) - room.usable_mib


def ways_to_fit(model: Model, demand: Demand, room: Room) -> list[str]:
    """What would fit instead, nearest first: each is one change, as an option of `fleet fit`."""
    return [
        *_other_demands(model, demand, room),
        *_more_gpus(model, demand, room),
        *_smaller(model, demand, room),
    ]


def _other_demands(model: Model, demand: Demand, room: Room) -> Iterator[str]:
    kinds: tuple[KvCache, ...] = ("q8_0", "q4_0")
    for kind in kinds if demand.kv_cache == "f16" and demand.flash_on(room) else ():
        if _holds(model, replace(demand, kv_cache=kind), room):
            yield f"--kv-cache {kind}"
            break
    context = largest(model, demand, room)
    if context:
        yield f"--context {context}"
    if demand.parallel > 1 and _holds(model, replace(demand, parallel=1), room):
        yield "--parallel 1"


def _more_gpus(model: Model, demand: Demand, room: Room) -> Iterator[str]:
    for gpus in range(room.gpus + 1, MOST_GPUS + 1 if room.profile is None else 0):
        if _holds(model, demand, replace(room, gpus=gpus)):
            yield f"--gpus {gpus}"
            return


def _smaller(model: Model, demand: Demand, room: Room) -> Iterator[str]:
    """The largest model of the same family that fits as asked."""
    family = model.tag.partition(":")[0]
    smaller = [
        one
        for one in all_models()
        if one.tag.partition(":")[0] == family and one.weight_bytes < model.weight_bytes
    ]
    for one in sorted(smaller, key=lambda one: -one.weight_bytes):
        if _holds(one, demand, room):
            yield one.tag
            return


def _holds(model: Model, demand: Demand, room: Room) -> bool:
    try:
        return fits(memory(model, demand, room), room)
    except EstimateError:
        return False
