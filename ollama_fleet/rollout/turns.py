"""Turns of hosts: who may take its slices out of service now, and who is left as it is.

pyinfra runs a step on all hosts at once, each in a greenlet of its own: they wait here. Nobody who has a
turn waits for another host.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ollama_fleet.planner.rollout import Rollout

# Hosts ask at different times: as long as the first one waits for those that may go before it.
SETTLE_S = 20.0
POLL_S = 0.1


@dataclass
class _Step:
    """One step of the run: whose answers it has, who waits (with the slices that go), who has a turn."""

    expected: set[str]
    began: float
    arrived: set[str] = field(default_factory=set)
    waiting: dict[str, frozenset[str]] = field(default_factory=dict)
    holders: dict[str, frozenset[str]] = field(default_factory=dict)
    proved: bool = False


class Turns:
    """The turns of one run. Slices are named <host>.<slice>."""

    def __init__(
        self,
        rollout: Rollout,
        settle_s: float = SETTLE_S,
        sleep: Callable[[float], object] = time.sleep,  # under pyinfra, gevent's
    ) -> None:
        self.rollout = rollout
        self.sleep = sleep
        self.settle_s = settle_s
        self.stopped = ""  # why nobody changes any more
        self._steps: dict[str, _Step] = {}
        self._out: dict[
            str, frozenset[str]
        ] = {}  # taken out by a step, brought back by a later one

    def pass_by(self, step: str, host: str, expected: Iterable[str]) -> None:
        """A host of `expected` needs no turn in this step."""
        self._step(step, expected).arrived.add(host)
        self._out.pop(host, None)

    def take(
        self, step: str, host: str, slices: Iterable[str], expected: Iterable[str]
    ) -> str | None:
        """Wait for the turn of `host`, which takes `slices` out of service; why it gets none, or None."""
        here = self._step(step, expected)
        here.arrived.add(host)
        here.waiting[host] = frozenset(slices)
        try:
            while not self._may_go(here, host):
                if words := self._refusal(here, host):
                    return words
                self.sleep(POLL_S)
            if self.stopped:
                return self.stopped
            here.holders[host] = here.waiting[host]
            return None
        finally:
            del here.waiting[host]

    def give(
        self, step: str, host: str, failed: str | None = None, comes_back: bool = True
    ) -> None:
        """The turn is over; `failed`: what went wrong; `comes_back` False: its slices are away until a
        later step."""
        here = self._steps[step]
        slices = here.holders.pop(host)
        if comes_back:
            self._out.pop(host, None)
        else:
            self._out[host] = slices
        is_canary = self.rollout.has_canary and not here.proved
        if failed is None:
            here.proved = True
        elif (is_canary or self.rollout.pause_on_failure) and not self.stopped:
            self.stopped = (
                f"not changed: {host} failed its check: {failed}; mend it, then run again"
            )

    def _step(self, name: str, expected: Iterable[str]) -> _Step:
        return self._steps.setdefault(name, _Step(set(expected), time.monotonic()))

    def _refusal(self, step: _Step, host: str) -> str | None:
        if self.stopped:
            return self.stopped
        if not self._comes_back(step) and (model := self._last_one(step, host)):
            out = ", ".join(sorted(self._out))
            return (
                f"not changed: {model} would be nowhere, for {out} comes back at the end of this run "
                "only; run again"
            )
        return None

    def _comes_back(self, step: _Step) -> bool:
        """Whether somebody who is away may yet end that in this step."""
        late = time.monotonic() - step.began > self.settle_s
        expected = set() if late else step.expected - step.arrived
        return bool(step.holders or (expected | step.waiting.keys()) & self._out.keys())

    def _may_go(self, step: _Step, host: str) -> bool:
        if self.stopped:
            return True
        late = time.monotonic() - step.began > self.settle_s
        if not (late or step.expected <= step.arrived):
            return False
        alone = self.rollout.has_canary and not step.proved
        if len(step.holders) >= (1 if alone else self.rollout.batch):
            return False
        ready = [name for name in step.waiting if not self._last_one(step, name)]
        return bool(ready) and min(ready, key=self._rank) == host

    def _rank(self, host: str) -> tuple[bool, int]:
        order = self.rollout.order
        place = order.index(host) if host in order else len(order)
        return host != self.rollout.canary, place

    def _last_one(self, step: _Step, host: str) -> str | None:
        """A model that would be nowhere if this host changed beside those that are away now."""
        others = frozenset[str]().union(
            *step.holders.values(), *(out for name, out in self._out.items() if name != host)
        )
        own = step.waiting[host]
        for model, pool in self.rollout.pools.items():
            if own.intersection(pool) and others.intersection(pool) and others | own >= set(pool):
                return model
        return None
