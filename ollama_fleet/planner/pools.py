"""Packs the wishes of a pool onto as few GPUs as it can: several models, one server, one GPU.

Best fit: of all GPUs of the pool with room, the fullest. Replicas of one wish are on different
slices always, and on different hosts as long as that costs no further GPU.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from ollama_fleet.planner.board import Board
from ollama_fleet.planner.demand import Demand, Option
from ollama_fleet.planner.devices import Device, Kind
from ollama_fleet.planner.needs import Seat
from ollama_fleet.planner.seats import may_use
from ollama_fleet.vram import FIT_TARGET_MIB

# Replicas of one wish are on so many hosts before saving a GPU counts for more.
HOSTS_APART = 3


@dataclass(eq=False)
class Bin:
    """One GPU of a pool and what is on it."""

    number: int
    host: int
    device: Device
    needed_left_mib: float
    total_left_mib: float
    swing_mib: float = FIT_TARGET_MIB
    members: dict[Demand, Seat] = field(default_factory=dict)
    name: str | None = None
    port: int | None = None

    def has_room(self, seat: Seat) -> bool:
        """Whether the models of `seat` can join."""
        beside = max(self.swing_mib, seat.swing_mib)
        return (
            seat.needed_mib <= self.needed_left_mib
            and seat.total_mib + beside <= self.total_left_mib
        )

    def add(self, demand: Demand, seat: Seat) -> None:
        """Put a wish there."""
        self.needed_left_mib -= seat.needed_mib
        self.total_left_mib -= seat.total_mib
        self.swing_mib = max(self.swing_mib, seat.swing_mib)
        self.members[demand] = seat


@dataclass
class Pool:
    """All GPUs of one pool; per kind they are kept sorted by what is left."""

    bins: list[Bin] = field(default_factory=list)
    _sorted: dict[Kind, list[tuple[float, int]]] = field(default_factory=dict)

    def open(self, host: int, device: Device) -> Bin:
        """A further GPU."""
        usable = device.kind.usable_mib
        opened = Bin(len(self.bins), host, device, usable, usable)
        self.bins.append(opened)
        insort(self._sorted.setdefault(device.kind, []), (usable, opened.number))
        return opened

    def add(self, target: Bin, demand: Demand, seat: Seat) -> None:
        """Put a wish on one of its GPUs."""
        order = self._sorted[target.device.kind]
        old = (target.needed_left_mib, target.number)
        del order[bisect_left(order, old)]
        target.add(demand, seat)
        insort(order, (target.needed_left_mib, target.number))

    def with_room(self, option: Option) -> Iterator[Bin]:
        """GPUs of the option's kind that its seat can join, the fullest first."""
        order = self._sorted.get(option.kind, [])
        start = bisect_left(order, (option.seat.needed_mib, -1))
        for _, number in order[start:]:
            if self.bins[number].has_room(option.seat):
                yield self.bins[number]


def place_pooled(
    board: Board,
    pool: Pool,
    demand: Demand,
    options: list[Option],
    count: int,
    used: dict[int, int],
) -> int:
    """Up to `count` replicas; answers how many found a place.

    A GPU is opened to keep replicas apart until they are on HOSTS_APART hosts; beyond that, two
    of them on one host are better than one more GPU.
    """
    left = count
    left -= _join(pool, demand, options, left, used, apart=True)
    left -= _begin(board, pool, demand, options, min(left, HOSTS_APART - len(used)), used, True)
    left -= _join(pool, demand, options, left, used, apart=False)
    for apart in (True, False):
        left -= _begin(board, pool, demand, options, left, used, apart)
    return count - left


def _join(
    pool: Pool,
    demand: Demand,
    options: list[Option],
    count: int,
    used: dict[int, int],
    apart: bool,
) -> int:
    """Join GPUs that the pool has already."""
    chosen: list[tuple[Bin, Seat]] = []
    for option in options:
        for target in pool.with_room(option):
            if len(chosen) >= count:
                break
            if demand in target.members or (apart and target.host in used):
                continue
            chosen.append((target, option.seat))
            used[target.host] = used.get(target.host, 0) + 1
    for target, seat in chosen:
        pool.add(target, demand, seat)
    return len(chosen)


def _begin(
    board: Board,
    pool: Pool,
    demand: Demand,
    options: list[Option],
    count: int,
    used: dict[int, int],
    apart: bool,
) -> int:
    """Open further GPUs."""
    done = 0
    for option in options:
        for order in board.offering(option.kind) if done < count else ():
            host = board.hosts[order]
            while done < count and may_use(demand, host.name) and not (apart and order in used):
                devices = host.take(option.kind, 1)
                if not devices:
                    break
                pool.add(pool.open(order, devices[0]), demand, option.seat)
                used[order] = used.get(order, 0) + 1
                done += 1
    return done
