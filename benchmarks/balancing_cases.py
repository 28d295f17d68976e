"""What balancing.py measures: sets of slices, the arrivals at a load, and rows of figures in mean answers."""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.central_queue import Arrival, Passage
from benchmarks.fake_slices import Slice
from benchmarks.load_report import percentile

SIGMA = 1.0
LONGEST = 30  # times the median
WARM_UP = 0.1  # of the requests do not count: the slices are empty when they come
HEADER = ["", "mean", "p50", "p95", "p99", "mean / ideal", "mean with service"]


@dataclass(frozen=True)
class Case:
    """What one table is about. `load`: share of the time for which slices would be busy."""

    shape: str
    load: float
    seconds: float
    mean_s: float
    seed: int

    @property
    def slices(self) -> list[Slice]:
        """New ones at each call."""
        return slices_of(self.shape)

    @property
    def slots(self) -> list[float]:
        """The speed of each slot."""
        return [one.speed for one in self.slices for _ in range(one.parallel)]

    def row(self, name: str, passages: Sequence[Passage | None]) -> "Row":
        """The figures of one policy, without the warm-up."""
        counted = passages[int(len(passages) * WARM_UP) :]
        served = [passage for passage in counted if passage is not None]
        waits = [max(0.0, passage.waited_s) / self.mean_s for passage in served]
        totals = [passage.total_s / self.mean_s for passage in served]
        return Row(name, waits, totals, 1 - len(served) / len(counted))


def slices_of(text: str) -> list[Slice]:
    """The slices of a set such as 4x1 or 2x1+2x1@2."""
    found: list[Slice] = []
    for part in text.split("+"):
        shape, _, speed = part.partition("@")
        number, _, parallel = shape.partition("x")
        for _ in range(int(number)):
            found.append(Slice(f"s{len(found)}", int(parallel), float(speed or 1)))
    return found


def arrivals_of(case: Case) -> list[Arrival]:
    """Poisson arrivals that keep the slices busy for `load` of the time."""
    source, seconds = random.Random(case.seed), case.seconds
    capacity = sum(one.parallel * one.speed for one in case.slices)
    rate, median_s = case.load * capacity / case.mean_s, case.mean_s / math.exp(SIGMA**2 / 2)
    found, at_s = [], 0.0
    while (at_s := at_s + source.expovariate(rate)) < seconds:
        service_s = min(source.lognormvariate(math.log(median_s), SIGMA), LONGEST * median_s)
        found.append(Arrival(at_s, service_s))
    return found


@dataclass(frozen=True)
class Row:
    """How one policy did, in mean answers: waiting, and `totals` with the service as well."""

    name: str
    waits: list[float]
    totals: list[float]
    turned_away: float = 0.0

    def cells(self, ideal: "Row") -> list[str]:
        """The columns of the table."""
        if self.turned_away > 0.001:
            return [self.name, f"{self.turned_away:.1%} get an error", *[""] * 5]
        mean = statistics.fmean(self.waits)
        shown = [mean, *(percentile(self.waits, p) for p in (50, 95, 99))]
        ratio = mean / statistics.fmean(ideal.waits)
        total = statistics.fmean(self.totals)
        return [self.name, *(f"{value:.2f}" for value in shown), f"{ratio:.2f}", f"{total:.2f}"]


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells(rows[0]) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
