"""What a picture of a fleet shows, before anything is drawn: machines, groups of GPUs with their slices, and
each GPU's bar in parts. The page and the SVG draw the same values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import GpuSight, HostOutcome, InstanceSight, Outcome, SliceSight
from ollama_fleet.report.counts import State, state_of, worst
from ollama_fleet.report.text import one_line

# What comes first.
URGENCY: dict[State, int] = {
    **dict.fromkeys(("unreachable", "failed", "lost"), 0),
    "warning": 1,
    "drained": 1,
    "ok": 2,
}
# GPUs that have room in half of the width.
MOST_NARROW = 4
# A sign and a word for each state: colour is never alone.
SIGNS: dict[State, str] = {
    "ok": "✓",
    "warning": "▲",
    "failed": "✕",
    "unreachable": "⊘",
    "lost": "✕",
    "drained": "‖",
}


@dataclass(frozen=True)
class Share:
    """A part of a GPU's bar: fractions of the card's memory, None where nobody could tell.

    `label` is the profile of an instance; a whole GPU has one share without a label.
    """

    left: float
    width: float
    used: float | None
    planned: float | None
    label: str = ""
    slice: str = ""


@dataclass(frozen=True)
class GpuView:
    """One GPU with its bar."""

    sight: GpuSight
    state: State
    shares: tuple[Share, ...]

    @property
    def name(self) -> str:
        """`GPU 3`; `GPU ?` for one that only the PCI bus knows."""
        return f"GPU {self.sight.index if self.sight.index >= 0 else '?'}"

    @property
    def card(self) -> str:
        """The card without its maker."""
        short = self.sight.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
        return one_line(short) or one_line(self.sight.address)

    @property
    def memory(self) -> str:
        """`10.6 of 24.0 GiB`."""
        if not self.sight.memory_mib:
            return "no memory to see"
        return f"{_gib(self.sight.used_mib)} of {_gib(self.sight.memory_mib)} GiB"

    @property
    def words(self) -> str:
        """All of it for who cannot see the bar."""
        planned = self.sight.planned_mib
        parts = [f"{self.name}, {self.card}: {self.memory} in use"]
        parts += [f"{_gib(planned)} GiB planned"] if planned is not None else []
        parts += [f"{share.label} {share.slice or 'free'}" for share in self.shares if share.label]
        return ", ".join(parts) + (f", {self.state}" if self.state != "ok" else "")


@dataclass(frozen=True)
class SliceView:
    """One slice as it is shown."""

    sight: SliceSight
    state: State

    @property
    def models(self) -> str:
        """Its models."""
        return one_line(", ".join(self.sight.models)) or "no model"

    @property
    def serves(self) -> str:
        """Port, models, and of its instance what says the most: `:11434 qwen3:8b · 3g`."""
        cut = f" · {one_line(self.sight.instance).split('.')[0]}" if self.sight.instance else ""
        return f":{self.sight.port} {self.models}{cut}"

    @property
    def speed(self) -> str:
        """`112 tok/s`, or nothing."""
        return f"{self.sight.tokens_per_s:.0f} tok/s" if self.sight.tokens_per_s else ""


@dataclass(frozen=True)
class Group:
    """GPUs that slices have in common, and these slices."""

    gpus: tuple[GpuView, ...]
    slices: tuple[SliceView, ...]


@dataclass(frozen=True)
class HostView:
    """One machine; `loose` are slices that have no GPU (any more)."""

    outcome: HostOutcome
    state: State
    groups: tuple[Group, ...]
    loose: tuple[SliceView, ...]

    @property
    def is_broad(self) -> bool:
        """Whether its GPUs want the whole width."""
        return sum(len(group.gpus) for group in self.groups) > MOST_NARROW

    @property
    def about(self) -> str:
        """Address, roles beside a host's, driver and Ollama."""
        host = self.outcome
        parts = [host.address, *(role for role in host.roles if role != "host")]
        parts += [f"driver {host.driver}"] if host.driver else []
        parts += [f"Ollama {host.ollama}"] if host.ollama else []
        return one_line(" · ".join(part for part in parts if part))

    @property
    def tally(self) -> str:
        """`62 checks, 2 failed, 1 warning`."""
        if self.outcome.error:
            return "not verified"
        states = [result.status for result in self.outcome.results]
        failed, warnings = states.count("failed"), states.count("warning")
        parts = [f"{len(states)} check{'' if len(states) == 1 else 's'}"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
        return ", ".join(parts)


def picture(outcome: Outcome) -> tuple[HostView, ...]:
    """Every machine: first those that want something done, then as in the inventory."""
    views = [_host(host) for host in outcome.hosts]
    return tuple(sorted(views, key=lambda view: URGENCY[view.state]))


def _host(host: HostOutcome) -> HostView:
    by_subject: dict[str, list[CheckResult]] = {}
    for result in host.results:
        by_subject.setdefault(result.subject, []).append(result)
    slices = [SliceView(item, _slice_state(item, by_subject)) for item in host.slices]
    gpus = [_gpu(gpu, host, by_subject) for gpu in host.gpus]
    groups = tuple(_groups(gpus, slices))
    placed = [item for group in groups for item in group.slices]
    loose = tuple(item for item in slices if item not in placed)
    return HostView(host, state_of(host), groups, loose)


def _groups(gpus: Sequence[GpuView], slices: Sequence[SliceView]) -> Iterator[Group]:
    """GPUs in their order; those that one slice has stand together."""
    done: set[int] = set()
    for gpu in gpus:
        if id(gpu) in done:
            continue
        inside, having = {gpu.sight.index}, list[SliceView]()
        while more := [s for s in slices if s not in having and inside & {*s.sight.gpus}]:
            having += more
            inside |= {index for item in more for index in item.sight.gpus}
        lost = gpu.sight.index < 0
        together = [gpu] if lost else [one for one in gpus if one.sight.index in inside]
        done |= {id(one) for one in together}
        yield Group(tuple(together), () if lost else tuple(s for s in slices if s in having))


def _gpu(gpu: GpuSight, host: HostOutcome, results: Mapping[str, list[CheckResult]]) -> GpuView:
    state: State = "lost" if gpu.lost else worst(results.get(f"gpu {gpu.address}", ()))
    planned = {item.name: item.planned_mib for item in host.slices}
    shares = tuple(_shares(gpu, planned)) if gpu.memory_mib else ()
    return GpuView(gpu, state, shares)


def _shares(gpu: GpuSight, planned: Mapping[str, int | None]) -> Iterator[Share]:
    if not gpu.instances:
        yield _share(gpu.memory_mib, 0, gpu.memory_mib, gpu.used_mib, gpu.planned_mib)
        return
    left = 0
    for item in gpu.instances:
        size = _size(item)
        wanted = planned.get(item.slice)
        yield _share(
            gpu.memory_mib, left, size, item.used_mib, wanted, one_line(item.profile), item.slice
        )
        left += size


def _size(item: InstanceSight) -> int:
    return item.memory_mib or 0


def _share(
    total: int,
    left: int,
    size: int,
    used: int | None,
    planned: int | None,
    label: str = "",
    name: str = "",
) -> Share:
    return Share(
        min(left / total, 1.0),
        min(size, max(total - left, 0)) / total,
        None if used is None else min(used, size) / total,
        None if planned is None else min(planned, size) / total,
        label,
        one_line(name),
    )


def _slice_state(item: SliceSight, results: Mapping[str, list[CheckResult]]) -> State:
    found = results.get(item.name, [])
    if any(result.failed for result in found):
        return "failed"
    return "drained" if item.drained else worst(found)


def _gib(mib: int | None) -> str:
    return "?" if mib is None else f"{mib / 1024:.1f}"
