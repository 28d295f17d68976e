"""Sets of wishes that fit one GPU together, and how a pool's wishes are made of them.

Packed without regard to hosts: that needs the fewest GPUs. `tight` then gives them hosts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ollama_fleet.planner.demand import Demand
from ollama_fleet.planner.needs import Seat
from ollama_fleet.vram import FIT_TARGET_MIB

Pattern = frozenset[int]


@dataclass(frozen=True)
class Item:
    """A wish of the pool: what a replica needs, and how many there are to be."""

    demand: Demand
    seat: Seat
    count: int


Packing = Callable[[Sequence[Item], float], list[Pattern]]


@dataclass(eq=False)
class _Bin:
    needed_mib: float = 0.0
    total_mib: float = 0.0
    swing_mib: float = FIT_TARGET_MIB
    items: set[int] = field(default_factory=set)

    def takes(self, seat: Seat, usable_mib: float) -> bool:
        beside = max(self.swing_mib, seat.swing_mib)
        return (
            self.needed_mib + seat.needed_mib <= usable_mib
            and self.total_mib + seat.total_mib + beside <= usable_mib
        )

    def add(self, index: int, seat: Seat) -> None:
        self.needed_mib += seat.needed_mib
        self.total_mib += seat.total_mib
        self.swing_mib = max(self.swing_mib, seat.swing_mib)
        self.items.add(index)


def first_fit(items: Sequence[Item], usable_mib: float) -> list[Pattern]:
    """Each item in its order into the first bins with room: what everything else has to beat."""
    bins: list[_Bin] = []
    for index, item in enumerate(items):
        left = item.count
        for target in bins:
            if left and target.takes(item.seat, usable_mib):
                target.add(index, item.seat)
                left -= 1
        bins += _opened(index, item, left)
    return [frozenset(target.items) for target in bins]


def _opened(index: int, item: Item, count: int) -> list[_Bin]:
    opened = [_Bin() for _ in range(count)]
    for target in opened:
        target.add(index, item.seat)
    return opened


def repeated_patterns(items: Sequence[Item], usable_mib: float) -> list[Pattern]:
    """The fullest pattern of what is left, as often as it goes, and so on: takes the same time for
    ten GPUs as for ten thousand."""
    left = [item.count for item in items]
    found: list[Pattern] = []
    while any(left):
        pattern = _fullest(items, left, usable_mib)
        times = max(1, min(left[i] for i in pattern) // 2)
        for i in pattern:
            left[i] -= times
        found += [pattern] * times
    return found


def _fullest(items: Sequence[Item], left: Sequence[int], usable_mib: float) -> Pattern:
    """One pattern per first item, filled up by what there is most of; the fullest of them."""
    load = [left[i] * item.seat.needed_mib for i, item in enumerate(items)]
    order = sorted((i for i in range(len(items)) if left[i]), key=lambda i: (-load[i], i))
    best: _Bin | None = None
    for first in order:
        target = _Bin()
        target.add(first, items[first].seat)
        for other in order:
            if other != first and target.takes(items[other].seat, usable_mib):
                target.add(other, items[other].seat)
        if best is None or target.needed_mib > best.needed_mib:
            best = target
    return frozenset(best.items) if best else frozenset()


def without_surplus(
    items: Sequence[Item], patterns: Sequence[Pattern], counts: Sequence[int]
) -> list[Pattern]:
    """Every used pattern, without items that there are enough of already."""
    left = [item.count for item in items]
    used = [p for p, count in zip(patterns, counts, strict=True) for _ in range(count)]
    found = []
    for pattern in sorted(used, key=lambda p: (len(p), sorted(p))):
        kept = frozenset(i for i in pattern if left[i])
        for i in kept:
            left[i] -= 1
        if kept:
            found.append(kept)
    return found
