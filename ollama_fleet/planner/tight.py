"""Gives hosts to a pool that was packed without regard to them, replicas of a wish apart.

The packing itself is one of `patterns` or the `solver`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ollama_fleet.planner.attempt import Packer
from ollama_fleet.planner.board import Board
from ollama_fleet.planner.demand import Demand, Option
from ollama_fleet.planner.devices import Device, Kind
from ollama_fleet.planner.needs import Seat
from ollama_fleet.planner.patterns import Item, Packing, Pattern
from ollama_fleet.planner.pools import Pool
from ollama_fleet.planner.seats import may_use

# Hosts that are looked at for one without the same wishes; in larger fleets the next will do.
TRIES_APART = 64


def packer(packing: Packing) -> Packer:
    """Packs a pool whose wishes all fit one kind of GPU; leaves others to best fit."""

    def pack(
        board: Board,
        pool: Pool,
        demands: list[Demand],
        options: dict[Demand, list[Option]],
        left: dict[Demand, int],
    ) -> None:
        kind = _common_kind(demands, options)
        items = [
            Item(demand, _seat(options[demand], kind), left[demand])
            for demand in demands
            if kind and left[demand]
        ]
        if kind and items:
            _open(board, pool, kind, items, packing(items, kind.usable_mib), left)

    return pack


def _common_kind(demands: Sequence[Demand], options: dict[Demand, list[Option]]) -> Kind | None:
    kinds = {option.kind for demand in demands for option in options[demand]}
    return kinds.pop() if len(kinds) == 1 and all(options[d] for d in demands) else None


def _seat(options: Sequence[Option], kind: Kind | None) -> Seat:
    return next(option.seat for option in options if option.kind == kind)


def _open(
    board: Board,
    pool: Pool,
    kind: Kind,
    items: Sequence[Item],
    bins: Sequence[Pattern],
    left: dict[Demand, int],
) -> None:
    """Give every pattern a GPU, replicas of one wish on different hosts where possible."""
    allowed = [h for h in board.offering(kind) if may_use(items[0].demand, board.hosts[h].name)]
    hosts = _Hosts(board, kind, allowed)
    for pattern in bins:
        taken = hosts.take(pattern, TRIES_APART) or hosts.take(pattern, 0)
        if taken is None:
            return
        opened = pool.open(*taken)
        for i in sorted(pattern):
            pool.add(opened, items[i].demand, items[i].seat)
            left[items[i].demand] -= 1


@dataclass
class _Hosts:
    """Hosts that still have GPUs of a kind, one after the other, and what of the pool is on them."""

    board: Board
    kind: Kind
    orders: list[int]
    position: int = 0
    members: dict[int, set[int]] = field(default_factory=dict)

    def take(self, pattern: Pattern, tries: int) -> tuple[int, Device] | None:
        """A GPU of the next host: of one of the next `tries` that has none of the pattern's wishes,
        or simply of the next one where no tries are given."""
        left = min(tries, len(self.orders)) or 1
        while left and self.orders:
            self.position %= len(self.orders)
            order = self.orders[self.position]
            here = self.members.setdefault(order, set())
            if tries and not pattern.isdisjoint(here):
                self.position += 1
                left -= 1
            elif devices := self.board.hosts[order].take(self.kind, 1):
                self.position += 1
                here.update(pattern)
                return order, devices[0]
            else:
                del self.orders[self.position]
        return None
