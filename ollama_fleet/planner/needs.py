"""What models need on GPUs of one kind, by the estimate and by the rules of Ollama's scheduler.

`Needs` remembers every answer, so that a fleet of thousands of GPUs asks each question once.
Pure; imports the catalogue, the estimate and the planner's values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ollama_fleet import catalogue
from ollama_fleet.planner.devices import Kind
from ollama_fleet.planner.memory import ModelUse
from ollama_fleet.spec.known import Known
from ollama_fleet.spec.servers import ServerSpec
from ollama_fleet.vram import (
    FIT_TARGET_MIB,
    Estimate,
    EstimateError,
    KvCache,
    estimate,
    predicted_mib,
)

# Ollama loads a model beside others only if its own prediction is at most this part of what is
# free, and evicts the others otherwise (server/sched.go).
LOAD_SHARE = 0.80


@dataclass(frozen=True)
class Settings:
    """What of a server's settings decides its memory."""

    context: int
    parallel: int
    kv_cache: KvCache
    flash_attention: bool | None

    @classmethod
    def of(cls, spec: ServerSpec) -> "Settings":
        """Those of a slice or a wish."""
        return cls(spec.context, spec.parallel, spec.kv_cache, spec.flash_attention)


@dataclass(frozen=True)
class Load:
    """One model on some GPUs of one kind; per GPU what it takes, and takes with its margin."""

    uses: tuple[ModelUse, ...]
    predicted_mib: float
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> tuple[float, ...]:
        """MiB on each GPU."""
        return tuple(use.mib for use in self.uses)

    @property
    def swing_mib(self) -> float:
        """What must be free beside everything loaded, for Ollama to load this without evicting."""
        return self.predicted_mib / LOAD_SHARE - sum(self.totals)


@dataclass(frozen=True)
class Seat:
    """Models together on `gpus` GPUs of one kind, each split over all of them.

    `needed_mib` and `total_mib` are of the fullest GPU, with and without margins; `swing_mib` is
    the largest of its loads, per GPU.
    """

    loads: tuple[Load, ...]
    gpus: int
    needed_mib: float
    total_mib: float
    swing_mib: float

    def uses(self, position: int) -> tuple[ModelUse, ...]:
        """What lies on its GPU of that position."""
        return tuple(load.uses[position] for load in self.loads)

    def fits(self, usable_mib: float) -> bool:
        """Whether all of them stay loaded on GPUs of that size."""
        beside = max(FIT_TARGET_MIB, self.swing_mib if len(self.loads) > 1 else 0)
        return self.needed_mib <= usable_mib and self.total_mib + beside <= usable_mib


@dataclass
class Needs:
    """Answers for one inventory; `known` says what its models are."""

    known: Known
    _loads: dict[tuple[str, Settings, Kind, int], Load] = field(default_factory=dict)
    _seats: dict[tuple[tuple[str, ...], Settings, Kind, int], Seat | None] = field(
        default_factory=dict
    )

    def load(self, tag: str, settings: Settings, kind: Kind, gpus: int = 1) -> Load:
        """One model split over `gpus` GPUs. Raises UnknownModel and EstimateError."""
        key = (tag, settings, kind, gpus)
        if key not in self._loads:
            self._loads[key] = _load(
                self.known.model(tag), tag, settings, kind, gpus, self.known.batch(tag)
            )
        return self._loads[key]

    def seat(
        self, tags: Sequence[str], settings: Settings, kind: Kind, gpus: int = 1
    ) -> Seat | None:
        """Models together; None where one of them cannot be split like that at all."""
        key = (tuple(tags), settings, kind, gpus)
        if key not in self._seats:
            self._seats[key] = self._seat(tags, settings, kind, gpus)
        return self._seats[key]

    def fits(self, tags: Sequence[str], settings: Settings, kind: Kind, gpus: int = 1) -> bool:
        """Whether models stay loaded together on so many empty GPUs."""
        seat = self.seat(tags, settings, kind, gpus)
        return seat is not None and seat.fits(kind.usable_mib)

    def fewest(self, tags: Sequence[str], settings: Settings, kind: Kind, most: int) -> Seat | None:
        """The seat with the fewest GPUs, up to `most`, that holds these models."""
        for gpus in range(1, most + 1):
            seat = self.seat(tags, settings, kind, gpus)
            if seat and seat.fits(kind.usable_mib):
                return seat
        return None

    def _seat(self, tags: Sequence[str], settings: Settings, kind: Kind, gpus: int) -> Seat | None:
        try:
            loads = tuple(self.load(tag, settings, kind, gpus) for tag in tags)
        except EstimateError:
            return None
        each = [[load.uses[position] for load in loads] for position in range(gpus)]
        return Seat(
            loads=loads,
            gpus=gpus,
            needed_mib=max(sum(use.share.needed_mib for use in uses) for uses in each),
            total_mib=max(sum(use.mib for use in uses) for uses in each),
            swing_mib=max(load.swing_mib for load in loads) / gpus,
        )


def _load(
    model: catalogue.Model, tag: str, settings: Settings, kind: Kind, gpus: int, batch: int | None
) -> Load:
    context = min(settings.context, model.max_context)
    answer = estimate(
        model,
        context=context,
        parallel=settings.parallel,
        kv_cache=settings.kv_cache,
        flash_attention=flash_attention(settings, kind),
        gpus=gpus,
        batch=batch,
        gpu=kind.card,
        # An empty GPU: the batch is never larger than there.
        free_mib=kind.usable_mib * gpus,
    )
    uses = tuple(ModelUse(tag, share) for share in answer.per_gpu)
    return Load(
        uses, predicted_mib(model, context * answer.parallel), _notes(tag, settings, answer)
    )


def _notes(tag: str, settings: Settings, answer: Estimate) -> tuple[str, ...]:
    """Where Ollama will not do what was asked for."""
    notes = []
    if answer.context < settings.context:
        notes.append(f"{tag} was trained for {answer.context} tokens and gets no more")
    if answer.parallel < settings.parallel:
        notes.append(f"Ollama serves {tag} {answer.parallel} request at a time")
    return tuple(notes)


def flash_attention(settings: Settings, kind: Kind) -> bool:
    """Whether Ollama will use it: as it was told, else wherever the GPU can."""
    if settings.flash_attention is not None:
        return settings.flash_attention
    return kind.card.flash_attention
