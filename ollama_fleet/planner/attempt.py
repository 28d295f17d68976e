"""One way of placing all wishes: an order of them, and what is kept from an earlier plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ollama_fleet.planner.board import Board, HostBoard, new_board
from ollama_fleet.planner.demand import Demand, Option, Placed
from ollama_fleet.planner.needs import Seat
from ollama_fleet.planner.pools import Bin, Pool, place_pooled
from ollama_fleet.planner.previous import Kept, Previous, keep_alone, keep_pooled
from ollama_fleet.planner.seats import place_alone

PoolKey = tuple[tuple[str | int, ...], str]
# Packs the wishes of one pool that are still to be placed; answers what it did not place.
Packer = Callable[[Board, Pool, list[Demand], dict[Demand, list[Option]], dict[Demand, int]], None]


@dataclass
class Attempt:
    """Where everything is, and how many replicas of which wish have no place."""

    board: Board
    placed: list[Placed]
    missing: dict[Demand, int]

    @property
    def unplaced(self) -> int:
        """Replicas without a place."""
        return sum(self.missing.values())

    @property
    def gpus(self) -> int:
        """GPUs and instances in use."""
        return sum(len(item.devices) for item in self.placed)


@dataclass
class _State:
    board: Board
    left: dict[Demand, int]
    used: dict[Demand, dict[int, int]]
    placed: list[Placed] = field(default_factory=list)
    pools: dict[PoolKey, Pool] = field(default_factory=dict)


def attempt(
    hosts: Sequence[HostBoard],
    demands: Sequence[Demand],
    options: dict[Demand, list[Option]],
    previous: Previous,
    packer: Packer | None = None,
) -> Attempt:
    """Place `demands` in their order, after what `previous` keeps."""
    state = _State(
        new_board(hosts),
        {demand: demand.spec.replicas for demand in demands},
        {demand: {} for demand in demands},
    )
    _keep(state, demands, options, previous)
    for demand in demands:
        if demand.pool and packer:
            continue
        _place(state, demand, options[demand])
    if packer:
        _pack(state, demands, options, packer)
    bins = [_pool_slice(item) for pool in state.pools.values() for item in pool.bins]
    missing = {demand: count for demand, count in state.left.items() if count}
    return Attempt(state.board, [*state.placed, *bins], missing)


def _place(state: _State, demand: Demand, options: list[Option]) -> None:
    used, count = state.used[demand], state.left[demand]
    if demand.pool:
        pool = state.pools.setdefault(demand.pool, Pool())
        state.left[demand] -= place_pooled(state.board, pool, demand, options, count, used)
        return
    found = place_alone(state.board, demand, options, count, used)
    state.placed += found
    state.left[demand] -= len(found)


def _pack(
    state: _State,
    demands: Sequence[Demand],
    options: dict[Demand, list[Option]],
    packer: Packer,
) -> None:
    members: dict[PoolKey, list[Demand]] = {}
    for demand in demands:
        if demand.pool:
            members.setdefault(demand.pool, []).append(demand)
    for key, pooled in members.items():
        pool = state.pools.setdefault(key, Pool())
        packer(state.board, pool, pooled, options, state.left)
        for demand in pooled:
            state.used[demand] = _hosts_of(pool, demand)
            _place(state, demand, options[demand])


def _hosts_of(pool: Pool, demand: Demand) -> dict[int, int]:
    hosts: dict[int, int] = {}
    for item in pool.bins:
        if demand in item.members:
            hosts[item.host] = hosts.get(item.host, 0) + 1
    return hosts


def _keep(
    state: _State,
    demands: Sequence[Demand],
    options: dict[Demand, list[Option]],
    previous: Previous,
) -> None:
    """Leave where they are those slices of the earlier plan that still fit there."""
    for kept in previous.matching(state.board, demands, options):
        if kept.pooled:
            keep_pooled(state.board, state.pools, kept, state.left, state.used)
        else:
            _keep_alone(state, kept)


def _keep_alone(state: _State, kept: Kept) -> None:
    (demand,) = kept.demands
    placed = keep_alone(state.board, kept) if state.left[demand] else None
    if placed:
        state.placed.append(placed)
        state.left[demand] -= 1
        state.used[demand][placed.host] = state.used[demand].get(placed.host, 0) + 1


def _pool_slice(item: Bin) -> Placed:
    # In the order of the file, whoever came first: the slice is the same whatever led to it.
    members = sorted(item.members.items(), key=lambda member: member[0].number)
    loads = tuple(load for _, seat in members for load in seat.loads)
    usable = item.device.kind.usable_mib
    seat = Seat(
        loads=loads,
        gpus=1,
        needed_mib=usable - item.needed_left_mib,
        total_mib=usable - item.total_left_mib,
        swing_mib=item.swing_mib,
    )
    demands = tuple(demand for demand, _ in members)
    return Placed(item.host, demands, (item.device,), seat, item.name, item.port)
