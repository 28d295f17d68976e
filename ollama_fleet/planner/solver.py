"""The fewest GPUs for a pool by OR-tools, where that is installed; never without a time limit.

Patterns are made one by one where the linear programme says that they would help (column
generation, Gilmore and Gomory), then CP-SAT chooses how often each is used. That depends on the
number of wishes, not on that of GPUs. Whoever asks compares with the heuristics.
"""

import time
from collections.abc import Sequence
from importlib.util import find_spec

from ollama_fleet.planner.patterns import Item, Pattern, without_surplus
from ollama_fleet.vram import FIT_TARGET_MIB

PRICE_SCALE = 10_000
PATTERN_SHARE = 0.6  # of the time, for making patterns; the rest for choosing among them
MOST_PATTERNS = 500
# CP-SAT's own measure of work, so that a slow machine gives the same answer as a fast one; the wall
# clock is only the last resort.
PRICING_WORK, CHOOSING_WORK = 0.5, 5.0


def solver_is_there() -> bool:
    """Whether OR-tools is installed; it is an extra (`pip install ollama-fleet[solver]`)."""
    return find_spec("ortools") is not None


def fewest_bins(items: Sequence[Item], usable_mib: float, seconds: float) -> list[Pattern]:
    """Patterns, each as often as it is used, that hold every item as often as it is wished."""
    started = time.monotonic()
    patterns = [frozenset([index]) for index in range(len(items))]
    while len(patterns) < MOST_PATTERNS and time.monotonic() - started < seconds * PATTERN_SHARE:
        found = _helpful(items, usable_mib, _prices(items, patterns))
        if found is None or found in patterns:
            break
        patterns.append(found)
    counts = _choose(items, patterns, max(0.1, seconds - (time.monotonic() - started)))
    return without_surplus(items, patterns, counts)


def _prices(items: Sequence[Item], patterns: Sequence[Pattern]) -> list[float]:
    """What one more of each item would cost with these patterns: duals of the relaxation."""
    from ortools.linear_solver import pywraplp

    solver = pywraplp.Solver.CreateSolver("GLOP")
    uses = [solver.NumVar(0, solver.infinity(), "") for _ in patterns]
    rows = [
        solver.Add(
            solver.Sum([use for use, pattern in zip(uses, patterns, strict=True) if i in pattern])
            >= item.count
        )
        for i, item in enumerate(items)
    ]
    solver.Minimize(solver.Sum(uses))
    solver.Solve()
    return [row.dual_value() for row in rows]


def _helpful(items: Sequence[Item], usable_mib: float, prices: Sequence[float]) -> Pattern | None:
    """The pattern worth most at these prices; None when none is worth more than its GPU."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    taken = [model.new_bool_var("") for _ in items]
    needed = sum(_up(item.seat.needed_mib) * x for item, x in zip(items, taken, strict=True))
    total = sum(_up(item.seat.total_mib) * x for item, x in zip(items, taken, strict=True))
    model.add(needed <= int(usable_mib))
    for item, x in zip(items, taken, strict=True):
        beside = _up(max(FIT_TARGET_MIB, item.seat.swing_mib))
        if item.seat.total_mib + beside <= usable_mib:
            model.add(total + beside <= int(usable_mib)).only_enforce_if(x)
        else:  # fits only alone
            others = sum(other for other in taken if other is not x)
            model.add(others == 0).only_enforce_if(x)
    worth = [round(price * PRICE_SCALE) for price in prices]
    model.maximize(sum(w * x for w, x in zip(worth, taken, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = PRICING_WORK
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    if solver.objective_value <= PRICE_SCALE * 1.0001 + len(items):
        return None
    return frozenset(i for i, x in enumerate(taken) if solver.boolean_value(x))


def _choose(items: Sequence[Item], patterns: Sequence[Pattern], seconds: float) -> list[int]:
    """How often each pattern is used, so that the fewest GPUs hold everything."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    most = max(item.count for item in items)
    uses = [model.new_int_var(0, most, "") for _ in patterns]
    for i, item in enumerate(items):
        holding = [use for use, pattern in zip(uses, patterns, strict=True) if i in pattern]
        model.add(sum(holding) >= item.count)
    model.minimize(sum(uses))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1  # the same answer every time
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = CHOOSING_WORK
    solver.parameters.max_time_in_seconds = seconds
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return [0] * len(patterns)
    return [int(solver.value(use)) for use in uses]


def _up(mib: float) -> int:
    return int(mib) + 1
