"""Puts wishes that have GPUs of their own onto hosts: replicas apart, the best fit first."""

from collections.abc import Iterator

from ollama_fleet.planner.board import Board
from ollama_fleet.planner.demand import Demand, Option, Placed


def place_alone(
    board: Board, demand: Demand, options: list[Option], count: int, used: dict[int, int]
) -> list[Placed]:
    """Up to `count` replicas; `used` counts those of this wish that each host has already.

    A further replica goes to a host that has the fewest of it; among those to the best fit, then
    to the first host of the file.
    """
    placed: list[Placed] = []
    rank = 0
    while len(placed) < count:
        found = list(_one_round(board, demand, options, count - len(placed), used, rank))
        placed += found
        if not found and rank > max(used.values(), default=0):
            break
        rank += 1
    return placed


def _one_round(
    board: Board,
    demand: Demand,
    options: list[Option],
    count: int,
    used: dict[int, int],
    rank: int,
) -> Iterator[Placed]:
    """At most one replica on each host that has `rank` of them."""
    for option in options:
        for order in board.offering(option.kind):
            if not count:
                return
            host = board.hosts[order]
            if used.get(order, 0) != rank or not may_use(demand, host.name):
                continue
            devices = host.take(option.kind, option.seat.gpus)
            if devices:
                used[order] = rank + 1
                count -= 1
                yield Placed(order, (demand,), devices, option.seat)


def may_use(demand: Demand, host: str) -> bool:
    """Whether the wish may go to that host."""
    return demand.hosts is None or host in demand.hosts
