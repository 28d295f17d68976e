"""Machines that are looked at again and again, each at its own pace, over connections that stay open."""

import time
from collections.abc import Callable, Sequence

from ollama_fleet.host.connected import Connected

# isort: split

import gevent
from gevent.pool import Pool

from ollama_fleet.checks.machine import Machine
from ollama_fleet.host.streams import SilentError, Stream, StreamError
from ollama_fleet.top.frame import read_frame
from ollama_fleet.top.gather import Watched
from ollama_fleet.top.pace import Pace
from ollama_fleet.top.program import END, FULL, QUICK, program

FRAME_TIMEOUT_S = 60
# A machine that cannot be asked is tried again so often; one on which something hangs more seldom, for each
# try may leave one more program there that nothing can end.
RETRY_S, SILENT_RETRY_S = 10, 300
# Between the two frames of a single look.
GAP_S = 1.0


def watched(fleet: Connected, every_s: float) -> list[Watched]:
    """A fleet's machines, in the order of the inventory; what is to be absent is not looked at."""
    return [_watched(machine, every_s) for machine in fleet.machines.values() if machine.roles]


def look(fleet: Connected, machines: Sequence[Watched]) -> None:
    """Ask each machine twice, a second apart: shares of CPU time are a difference."""
    pool = Pool(max(1, len(machines)))
    for one in machines:
        pool.spawn(_Follower(fleet, one, lambda: None).twice)
    pool.join()


class Following:
    """Asks machines in the background until it is ended; `told` is called after each frame."""

    def __init__(
        self, fleet: Connected, machines: Sequence[Watched], told: Callable[[], None]
    ) -> None:
        self._pool = Pool(max(1, len(machines)))
        for one in machines:
            self._pool.spawn(_Follower(fleet, one, told).forever)

    def end(self) -> None:
        """Ask nobody any more; the programs end with their connections."""
        self._pool.kill(block=False)


class _Follower:
    """One machine, its stream, and what is done with its frames."""

    def __init__(self, fleet: Connected, one: Watched, told: Callable[[], None]) -> None:
        self.fleet, self.one, self.told = fleet, one, told
        self.stream: Stream | None = None
        self.retry_s = RETRY_S

    def forever(self) -> None:
        while True:
            started = time.monotonic()
            well = self.ask(started)
            self.told()
            wait_s = self.one.pace.every_s if well else self.retry_s
            gevent.sleep(max(0.05, started + wait_s - time.monotonic()))

    def twice(self) -> None:
        if self.ask(time.monotonic()):
            gevent.sleep(GAP_S)
            self.ask(time.monotonic())
        if self.stream:
            self.stream.close()

    def ask(self, now: float) -> bool:
        """One frame; whether it came."""
        one = self.one
        try:
            if self.stream is None:
                one.pace.begin_anew()
                self.stream = self.fleet.stream(one.name, program(one.plan, one.gateway))
            word = FULL if one.pace.wants_full(now) else QUICK
            frame = read_frame(self.stream.ask(word, f"\001{END}", FRAME_TIMEOUT_S))
            if frame is None:
                raise StreamError("it prints no frames; is its shell a POSIX shell?")
        except StreamError as error:
            one.lose(str(error))
            self.retry_s = SILENT_RETRY_S if isinstance(error, SilentError) else RETRY_S
            self.give_up()
            return False
        one.take(frame, time.monotonic())
        return True

    def give_up(self) -> None:
        """End the program and its connection."""
        if self.stream:
            self.stream.close()
        self.stream = None
        self.fleet.drop(self.one.name)


def _watched(machine: Machine, every_s: float) -> Watched:
    return Watched(machine.name, machine.roles, machine.slices_plan, machine.gateway, Pace(every_s))
