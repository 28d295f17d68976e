"""How few GPUs could hold a fleet's wishes at the very least; a plan is measured against it.

Counts memory only: it knows nothing of hosts, and so may promise what no plan can do.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from ollama_fleet.planner.board import new_board
from ollama_fleet.planner.demand import Demand, Option, demands_of, options_of
from ollama_fleet.planner.hosts import written_host
from ollama_fleet.planner.needs import Needs
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.spec.known import known_to


def fewest_gpus(fleet: Fleet) -> int:
    """GPUs that the slices and wishes of a fleet need at least."""
    needs = Needs(known_to(fleet))
    boards = [written_host(name, spec, needs).board for name, spec in fleet.hosts.items()]
    board = new_board(boards)
    written = sum(len(item.gpus) for spec in fleet.hosts.values() for item in spec.slices)
    alone = 0
    pools: dict[object, list[tuple[Demand, list[Option]]]] = {}
    for demand in demands_of(fleet):
        options = options_of(demand, board, needs)
        if demand.pool:
            pools.setdefault(demand.pool, []).append((demand, options))
        elif options:
            alone += demand.spec.replicas * min(option.seat.gpus for option in options)
    return written + alone + sum(map(_fewest_of_pool, pools.values()))


def _fewest_of_pool(wishes: Sequence[tuple[Demand, list[Option]]]) -> int:
    """The larger of two bounds: no wish twice on one GPU, and Martello and Toth's L2."""
    fitting = [(demand, options) for demand, options in wishes if options]
    if not fitting:
        return 0
    largest = max(option.kind.usable_mib for _, options in fitting for option in options)
    sizes = [
        (min(option.seat.needed_mib for option in options) / largest, demand.spec.replicas)
        for demand, options in fitting
    ]
    return max(max(count for _, count in sizes), _l2(sizes))


def _l2(sizes: Sequence[tuple[float, int]]) -> int:
    """Bins for items of these parts of a bin: items over 1 - a are alone, and so on."""
    thresholds = {0.0, *(size for size, _ in sizes if size <= 0.5)}
    return max(_l2_at(sizes, threshold) for threshold in thresholds)


def _l2_at(sizes: Sequence[tuple[float, int]], threshold: float) -> int:
    alone = _count(sizes, (size > 1 - threshold for size, _ in sizes))
    large = [(size, n) for size, n in sizes if 0.5 < size <= 1 - threshold]
    small = [(size, n) for size, n in sizes if threshold <= size <= 0.5]
    room = sum((1 - size) * n for size, n in large)
    over = sum(size * n for size, n in small) - room
    return alone + sum(n for _, n in large) + max(0, ceil(over - 1e-9))


def _count(sizes: Sequence[tuple[float, int]], chosen: Iterable[bool]) -> int:
    return sum(n for (_, n), one in zip(sizes, chosen, strict=True) if one)
