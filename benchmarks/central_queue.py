"""The ideal that balancers are measured against: one queue, in order, for all slots, without any cost.

Exact: replays the very arrivals and service times that the balancers got. The same for slices that queue by
themselves, without a proxy: what their balancers would do in a run that is long enough to settle.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Arrival:
    """A request: when it comes, and how long it takes on a slice of speed 1; both in seconds."""

    at_s: float
    service_s: float


@dataclass(frozen=True)
class Passage:
    """What became of a request: how long it waited, and how long it took in all; in seconds."""

    waited_s: float
    total_s: float


def replay(arrivals: Sequence[Arrival], speeds: Sequence[float]) -> list[Passage]:
    """Who waits how long with one queue for slots of these speeds; the fastest free one is taken.

    `speeds`: one entry per slot, so a slice of two parallel requests has two.
    """
    free_at = [(0.0, -speed, number) for number, speed in enumerate(speeds)]
    heapq.heapify(free_at)  # by the time at which a slot gets free
    found = []
    for arrival in arrivals:
        idle = []
        while free_at and free_at[0][0] <= arrival.at_s:
            idle.append(heapq.heappop(free_at))
        if idle:
            idle.sort(key=lambda slot: slot[1])
            chosen, begin_s = idle.pop(0), arrival.at_s
        else:
            chosen = heapq.heappop(free_at)
            begin_s = chosen[0]
        for slot in idle:
            heapq.heappush(free_at, slot)
        _, minus_speed, number = chosen
        end_s = begin_s + arrival.service_s / -minus_speed
        heapq.heappush(free_at, (end_s, minus_speed, number))
        found.append(Passage(begin_s - arrival.at_s, end_s - arrival.at_s))
    return found


@dataclass
class Queueing:
    """A slice with a queue of its own: when its slots get free, and when its requests end."""

    parallel: int
    speed: float
    free_at: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free_at = [0.0] * self.parallel

    def connections(self, at_s: float) -> int:
        """Requests that run or wait there."""
        while self.ends and self.ends[0] <= at_s:
            heapq.heappop(self.ends)
        return len(self.ends)

    def take(self, arrival: Arrival) -> Passage:
        """Put a request at the end of its queue."""
        begin_s = max(arrival.at_s, heapq.heappop(self.free_at))
        end_s = begin_s + arrival.service_s / self.speed
        heapq.heappush(self.free_at, end_s)
        heapq.heappush(self.ends, end_s)
        return Passage(begin_s - arrival.at_s, end_s - arrival.at_s)


Choice = Callable[[Sequence[Queueing], Arrival], Queueing]


def least_connections(slices: Sequence[Queueing], arrival: Arrival) -> Queueing:
    """The one with the fewest requests for its speed, as a weighted balancer chooses."""
    return min(slices, key=lambda one: (one.connections(arrival.at_s) + 1) / one.speed)


def round_robin() -> Choice:
    """Each in turn, in proportion to its speed, as nginx smooths it."""
    credit: dict[int, float] = {}

    def choose(slices: Sequence[Queueing], _arrival: Arrival) -> Queueing:
        for number, one in enumerate(slices):
            credit[number] = credit.get(number, 0.0) + one.speed
        chosen = max(credit, key=lambda number: credit[number])
        credit[chosen] -= sum(one.speed for one in slices)
        return slices[chosen]

    return choose


def queueing(
    arrivals: Sequence[Arrival], slices: Sequence[Queueing], choose: Choice
) -> list[Passage]:
    """Who waits how long when each slice has its own queue."""
    return [choose(slices, arrival).take(arrival) for arrival in arrivals]
