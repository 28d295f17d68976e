"""Slices that a person wrote stay as they are; their models are held against their GPUs.

Ollama puts a model on one GPU of a slice where it fits there by its own rule, and splits its
layers over all of them otherwise; the same is done here, in the order of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ollama_fleet import catalogue
from ollama_fleet.planner.devices import Kind
from ollama_fleet.planner.memory import GpuMemory, ModelUse
from ollama_fleet.planner.nearest import nearest
from ollama_fleet.planner.needs import LOAD_SHARE, Load, Needs, Settings
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.spec.fleet import SliceSpec
from ollama_fleet.spec.known import full_model_name
from ollama_fleet.vram import FIT_TARGET_MIB, EstimateError

SPREAD = "OLLAMA_SCHED_SPREAD"


@dataclass
class Seated:
    """The models of one slice on its GPUs, filled one after the other."""

    spec: SliceSpec
    selectors: Sequence[int | str]
    kinds: Sequence[Kind]
    uses: list[list[ModelUse]] = field(init=False)
    loads: list[Load] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uses = [[] for _ in self.kinds]

    @property
    def memory(self) -> list[GpuMemory]:
        """Every GPU of the slice."""
        return [
            GpuMemory(
                selector=selector,
                card=kind.name,
                total_mib=kind.total_mib,
                usable_mib=kind.usable_mib,
                owner=self.spec.name,
                uses=tuple(uses),
                unchecked=tuple(self.unknown),
            )
            for selector, kind, uses in zip(self.selectors, self.kinds, self.uses, strict=True)
        ]

    def free_mib(self, position: int) -> float:
        """What Ollama sees free on a GPU of the slice."""
        return self.kinds[position].usable_mib - sum(use.mib for use in self.uses[position])


def seat_slice(
    spec: SliceSpec, selectors: Sequence[int | str], kinds: Sequence[Kind], needs: Needs
) -> Seated:
    """Put the models of `spec` where Ollama would."""
    seated = Seated(spec, selectors, kinds)
    for tag in dict.fromkeys(map(full_model_name, spec.models)):
        try:
            _seat_model(seated, tag, needs)
        except catalogue.UnknownModel:
            seated.unknown.append(tag)
        except EstimateError as error:
            seated.wrong.append(str(error))
    return seated


def _seat_model(seated: Seated, tag: str, needs: Needs) -> None:
    settings = Settings.of(seated.spec)
    freest = max(range(len(seated.kinds)), key=seated.free_mib)
    alone = needs.load(tag, settings, seated.kinds[freest])
    spread = str(seated.spec.env.get(SPREAD, "0")).lower() not in ("0", "false", "")
    many = len(seated.kinds) > 1
    if not many or (not spread and alone.predicted_mib <= LOAD_SHARE * seated.free_mib(freest)):
        seated.uses[freest] += alone.uses
        seated.loads.append(alone)
        return
    smallest = min(seated.kinds, key=lambda kind: kind.usable_mib)
    split = needs.load(tag, settings, smallest, len(seated.kinds))
    for uses, use in zip(seated.uses, split.uses, strict=True):
        uses.append(use)
    seated.loads.append(split)


def slice_notes(seated: Seated) -> list[str]:
    """What a person should know of a slice that is deployed as written."""
    name = seated.spec.name
    notes = [
        f"{name}: nothing is known of {tag}, so its memory is not checked; describe it under "
        "`catalogue: {models: [...]}`"
        for tag in seated.unknown
    ]
    idle = [
        str(selector)
        for selector, uses in zip(seated.selectors, seated.uses, strict=True)
        if seated.loads and not uses and not seated.unknown
    ]
    if idle:
        notes.append(
            f"{name}: GPU {', '.join(idle)} stays empty, because Ollama puts a model that fits "
            f"one GPU on one; `env: {{{SPREAD}: 1}}` would split it"
        )
    return notes + _evictions(seated)


def _evictions(seated: Seated) -> list[str]:
    free = sum(map(seated.free_mib, range(len(seated.kinds))))
    if len(seated.loads) < 2 or free < FIT_TARGET_MIB:
        return []
    return [
        f"{seated.spec.name}: Ollama expects {load.predicted_mib:.0f} MiB for "
        f"{load.uses[0].model}, more than {LOAD_SHARE:.0%} of what the others leave, and may "
        "unload one of them when it loads this"
        for load in seated.loads
        if load.swing_mib > free
    ]


class _AsWritten:
    """Whether a changed slice would fit, seated by the very rules that refused it."""

    def __init__(self, seated: Seated, needs: Needs) -> None:
        self.known, self._seated, self._needs = needs.known, seated, needs

    def fits(self, tags: Sequence[str], settings: Settings, kind: Kind, gpus: int = 1) -> bool:
        changed = self._seated.spec.model_copy(
            update={
                "models": list(tags),
                "context": settings.context,
                "kv_cache": settings.kv_cache,
            }
        )
        kinds = self._seated.kinds if gpus == len(self._seated.kinds) else [kind] * gpus
        seated = seat_slice(changed, range(len(kinds)), kinds, self._needs)
        return not seated.wrong and all(memory.fits for memory in seated.memory)


def slice_refusal(where: str, seated: Seated, needs: Needs) -> Refusal | None:
    """Why a slice does not fit its GPUs; None when it does, or when nothing can be said."""
    if seated.wrong:
        return Refusal(where, "; ".join(seated.wrong))
    over = [memory for memory in seated.memory if not memory.fits]
    if not over:
        return None
    worst = min(over, key=lambda memory: memory.free_mib)
    what = f"its models need {-worst.free_mib:.0f} MiB more than GPU {worst.selector} has"
    smallest = min(seated.kinds, key=lambda kind: kind.usable_mib)
    fitting = nearest(
        tuple(map(full_model_name, seated.spec.models)),
        Settings.of(seated.spec),
        smallest,
        len(seated.kinds),
        _AsWritten(seated, needs),
    )
    sums = tuple(f"GPU {memory.selector}: {memory.sum()}" for memory in over)
    return Refusal(where, what, sums, (*fitting, "`allow_overcommit: true` to deploy it anyway"))
