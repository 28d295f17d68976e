"""How tightly pools are packed: never worse than first fit, near the bound, and fast."""

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_fleet.planner.bounds import fewest_gpus
from ollama_fleet.planner.demand import Demand
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.needs import Load, Seat
from ollama_fleet.planner.patterns import Item, first_fit, repeated_patterns
from ollama_fleet.planner.solver import fewest_bins, solver_is_there
from ollama_fleet.spec.fleet import Fleet

USABLE_MIB = 24000.0
POOLED = (
    "qwen3:0.6b",
    "qwen3:8b",
    "qwen3:14b",
    "gemma3:12b",
    "llama3:8b",
    "gpt-oss:20b",
    "phi4:14b",
)
sizes = st.lists(st.tuples(st.floats(600, 22000), st.integers(1, 30)), min_size=1, max_size=12)


def items(wanted: list[tuple[float, int]]) -> list[Item]:
    demand: Any = Demand
    return [Item(demand, Seat((Load((), 0.0),), 1, size, size - 500, 0.0), n) for size, n in wanted]


def check(packed: list[frozenset[int]], wanted: list[tuple[float, int]]) -> None:
    for pattern in packed:
        assert sum(wanted[i][0] for i in pattern) <= USABLE_MIB
        assert sum(wanted[i][0] - 500 for i in pattern) + 1024 <= USABLE_MIB
    for index, (_, count) in enumerate(wanted):
        assert sum(index in pattern for pattern in packed) == count


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_heuristics_place_everything_and_overfill_nothing(wanted: list[tuple[float, int]]) -> None:
    for packing in (first_fit, repeated_patterns):
        check(packing(items(wanted), USABLE_MIB), wanted)


@pytest.mark.skipif(not solver_is_there(), reason="OR-tools is not installed (extra: solver)")
@settings(max_examples=8, deadline=None)
@given(sizes)
def test_the_solver_places_everything_on_no_more_gpus(wanted: list[tuple[float, int]]) -> None:
    packed = fewest_bins(items(wanted), USABLE_MIB, 5.0)
    check(packed, wanted)
    assert len(packed) <= len(repeated_patterns(items(wanted), USABLE_MIB))


def pool_of(hosts: int, seed: int) -> Fleet:
    rng = random.Random(seed)
    wishes = [
        {"model": tag, "pool": "dev", "replicas": rng.randint(1, 3 * hosts)} for tag in POOLED
    ]
    eight = {"gpus": [{"model": "RTX 3090", "count": 8}]}
    data = {"version": 1, "hosts": {f"h{n:04}": eight for n in range(hosts)}, "wishes": wishes}
    return Fleet.model_validate(data)


@pytest.mark.parametrize("seed", range(5))
def test_a_tight_plan_is_between_the_bound_and_a_plain_one(seed: int) -> None:
    fleet = pool_of(6, seed)
    plain, tight = plan_fleet(fleet, solver_s=0), plan_fleet(fleet, tight=True, solver_s=2.0)
    assert not tight.refusals
    assert fewest_gpus(fleet) <= tight.gpus_used <= plain.gpus_used


def test_a_thousand_hosts_are_planned_in_about_a_second() -> None:
    fleet = pool_of(1000, 1)
    started = time.perf_counter()
    found = plan_fleet(fleet, tight=True, solver_s=0)
    assert not found.refusals
    # A second on an idle machine (benchmarks/packing.py); room for a busy one.
    assert time.perf_counter() - started < 15
