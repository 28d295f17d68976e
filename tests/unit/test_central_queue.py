"""The ideal that balancers are measured against is what it says: by hand, and by a known formula."""

import random
import statistics

import pytest

from benchmarks.balancing_cases import Case, arrivals_of, slices_of
from benchmarks.central_queue import (
    Arrival,
    Queueing,
    least_connections,
    queueing,
    replay,
    round_robin,
)


def waits(times: list[tuple[float, float]], speeds: list[float]) -> list[float]:
    return [one.waited_s for one in replay([Arrival(*time) for time in times], speeds)]


def test_who_comes_to_a_full_house_waits_for_the_first_that_leaves() -> None:
    assert waits([(0, 4), (1, 1), (1, 1), (1.5, 1)], [1, 1]) == [0, 0, 1, 1.5]


def test_the_fastest_free_slot_is_taken() -> None:
    (first, second) = replay([Arrival(0, 4), Arrival(0, 4)], [1, 2])
    assert (first.total_s, second.total_s) == (2, 4)


def test_a_single_queue_waits_as_the_formula_says() -> None:
    """M/D/1 at 80 % load: half of the load over what is free, in service times."""
    source, at_s, arrivals = random.Random(1), 0.0, []
    for _ in range(100_000):
        at_s += source.expovariate(0.8)
        arrivals.append(Arrival(at_s, 1.0))
    mean = statistics.fmean(one.waited_s for one in replay(arrivals, [1.0]))
    assert mean == pytest.approx(0.8 / (2 * 0.2), rel=0.05)


def test_with_one_slice_all_ways_are_the_same() -> None:
    arrivals = arrivals_of(Case("1x2", 0.8, 500, 1.0, 3))
    ideal = [one.waited_s for one in replay(arrivals, [1.0, 1.0])]
    for choose in (least_connections, round_robin()):
        found = queueing(arrivals, [Queueing(2, 1.0)], choose)
        assert [one.waited_s for one in found] == pytest.approx(ideal)


@pytest.mark.parametrize("shape", ["4x1", "4x2", "2x1+2x1@2"])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_one_queue_waits_least_and_round_robin_most(shape: str, load: float) -> None:
    case = Case(shape, load, 2000, 1.0, 1)
    arrivals = arrivals_of(case)

    def mean(choose: object) -> float:
        slices = [Queueing(one.parallel, one.speed) for one in slices_of(shape)]
        return statistics.fmean(p.waited_s for p in queueing(arrivals, slices, choose))  # type: ignore[arg-type]

    ideal = statistics.fmean(one.waited_s for one in replay(arrivals, case.slots))
    assert ideal < mean(least_connections) < mean(round_robin())


def test_arrivals_come_at_the_load_that_was_asked_for() -> None:
    case = Case("2x1+2x1@2", 0.8, 20_000, 1.0, 1)
    work_s = sum(one.service_s for one in arrivals_of(case))
    assert work_s / (6 * 20_000) == pytest.approx(0.8, rel=0.03)
