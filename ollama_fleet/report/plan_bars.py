"""The memory of a planned GPU as one bar: its segments in order, which every picture draws.

Values only; imports the planner's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.plan import HostPlan

# Kind of segment: what people read, its colour, its character in a terminal. Colours are told
# apart by colour-blind people as well (Paul Tol's bright scheme).
KINDS = {
    "weights": ("weights", "#4477aa", "█"),
    "kv_cache": ("KV cache", "#66ccee", "▓"),
    "recurrent_state": ("recurrent state", "#228833", "▞"),
    "graph": ("graph", "#ccbb44", "▒"),
    "projector": ("projector", "#ee8866", "▚"),
    "draft": ("draft layer", "#aa3377", "▟"),
    "cuda_context": ("CUDA context", "#999999", "░"),
    "margin": ("margin", "#dddddd", "╌"),
    "free": ("free", "#ffffff", "·"),
    "reserved": ("reserved", "#f4e9d8", "R"),
    "over": ("too much", "#cc3311", "!"),
}


@dataclass(frozen=True)
class Segment:
    """A part of a bar; `model` is empty where it belongs to none."""

    kind: str
    mib: float
    model: str = ""

    @property
    def title(self) -> str:
        """For people: `qwen3:8b weights, 4,644 MiB`."""
        whose = f"{self.model} " if self.model else ""
        return f"{whose}{KINDS[self.kind][0]}, {self.mib:,.0f} MiB"


@dataclass(frozen=True)
class Bar:
    """One GPU or MIG instance; segments add up to `length_mib`, more than usable if refused."""

    memory: GpuMemory
    slice_line: str
    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """`GPU 0`, `GPU 0/3g.20gb/1`."""
        return f"GPU {self.memory.selector}"

    @property
    def card(self) -> str:
        """The card, without the profile that the name of an instance has already."""
        profile = self.name.split("/")[1] if "/" in self.name else ""
        return self.memory.card.removesuffix(profile).strip()

    @property
    def length_mib(self) -> float:
        """All segments together."""
        return sum(segment.mib for segment in self.segments)

    @property
    def summary(self) -> str:
        """What is used, kept and free, on one line."""
        memory = self.memory
        if memory.reserved:
            return f"reserved by the inventory, {memory.usable_mib:,} MiB"
        if not memory.uses:
            return f"{memory.usable_mib:,} MiB free"
        left = (
            f"{memory.free_mib:,.0f} free" if memory.fits else f"{-memory.free_mib:,.0f} too much"
        )
        used = f"{memory.used_mib:,.0f} used + {memory.margin_mib:,.0f} margin"
        return f"{used} of {memory.usable_mib:,} MiB, {left}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Per model what takes its memory: `qwen3:8b: weights 4,644, KV cache 576, …`."""
        return tuple(
            f"{use.model}: "
            + ", ".join(f"{KINDS[term.name][0]} {term.mib:,.0f}" for term in use.terms)
            for use in self.memory.uses
        )


def bars(plan: HostPlan) -> tuple[Bar, ...]:
    """A bar for every GPU of a host whose GPUs are known."""
    lines = {item.name: f"{item.name} :{item.port}" for item in plan.slices}
    return tuple(
        Bar(memory, lines.get(memory.owner or "", memory.owner or ""), tuple(_segments(memory)))
        for memory in plan.memory
    )


def kinds_in(all_bars: tuple[Bar, ...]) -> tuple[str, ...]:
    """Kinds that occur, in the order of the legend."""
    seen = {segment.kind for bar in all_bars for segment in bar.segments}
    return tuple(kind for kind in KINDS if kind in seen)


def components(memory: GpuMemory) -> dict[str, float]:
    """Part to MiB over all models of a GPU, in the order of the legend."""
    parts = {
        kind: sum(use.share.mib(kind) for use in memory.uses)
        for kind in KINDS
        if any(use.share.mib(kind) for use in memory.uses)
    }
    return parts | ({"margin": memory.margin_mib} if memory.uses else {})


def _segments(memory: GpuMemory) -> Iterator[Segment]:
    if memory.reserved:
        yield Segment("reserved", memory.usable_mib)
        return
    left = float(memory.usable_mib)
    for segment in _wanted(memory):
        if left > 0:
            yield replace(segment, mib=min(segment.mib, left))
        left -= segment.mib
    if left:
        yield Segment("free" if left > 0 else "over", abs(left))


def _wanted(memory: GpuMemory) -> Iterator[Segment]:
    """What its models take and keep, whether or not there is room for it."""
    for use in memory.uses:
        for term in use.terms:
            yield Segment(term.name, term.mib, use.model)
    if memory.margin_mib:
        yield Segment("margin", memory.margin_mib)
