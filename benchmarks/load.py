"""Load on a gateway or a slice: streaming requests with lengths as people send them.

    .venv/bin/python benchmarks/load.py URL MODEL --clients 8 --seconds 30        # closed loop
    .venv/bin/python benchmarks/load.py URL MODEL --rate 20 --seconds 30 --json   # open loop

Closed loop: so many clients, each asks again when it has its answer and has thought. Open loop: requests
arrive at random (Poisson) whether the last was answered or not, and a latency counts from when the
request was meant to start, so that a server that stalls can't slow the question down and hide it.

Lengths are log-normal: by default a median of 150 tokens asked and 120 answered, sigma 1. That is an
assumption of ours (many short ones, few very long ones), not a trace.

A request is lost when it was not answered as a whole: 5xx, an error, no final record, a broken connection.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_client import Answer, Pool, Target
from benchmarks.load_report import Report, Sample

TIMEOUT_S = 120.0
GRACE_S = 30.0  # for what is running when the time is over


@dataclass(frozen=True)
class Mix:
    """How long questions and answers are, in tokens."""

    asked_median: float = 150
    answered_median: float = 120
    sigma: float = 1.0
    longest: int = 4096

    def sample(self, source: random.Random) -> tuple[int, int]:
        """Tokens asked and tokens to answer."""
        drawn = [
            source.lognormvariate(math.log(median), self.sigma)
            for median in (self.asked_median, self.answered_median)
        ]
        return tuple(max(1, min(self.longest, round(n))) for n in drawn)  # type: ignore[return-value]


SHORT = Mix(asked_median=20, answered_median=10, sigma=0.5, longest=100)


@dataclass
class Load:
    """Requests to one model; `path` says which API. Ends when `stop` is set or the time is over."""

    target: Target
    model: str
    mix: Mix = Mix()
    path: str = "/api/chat"
    seed: int = 1
    timeout_s: float = TIMEOUT_S
    report: Report = field(default_factory=Report)
    stop: threading.Event = field(default_factory=threading.Event)

    def body(self, source: random.Random) -> bytes:
        """One streaming request."""
        asked, answered = self.mix.sample(source)
        message = {"role": "user", "content": "word " * asked}
        wanted: dict[str, Any] = {"model": self.model, "messages": [message], "stream": True}
        if self.path.startswith("/v1/"):
            wanted |= {"max_tokens": answered, "stream_options": {"include_usage": True}}
        else:
            wanted |= {"options": {"num_predict": answered}, "think": False}
        return json.dumps(wanted).encode()

    async def one(self, pool: Pool, source: random.Random, meant_s: float) -> None:
        """Ask once and note what happened."""
        request = self.target.request(self.path, self.body(source))
        answer = await pool.ask(request, self.timeout_s)
        self.report.samples.append(sample_of(answer, meant_s))

    async def closed(self, clients: int, seconds: float, think_s: float = 0.0) -> Report:
        """So many clients, one after the other's answer."""
        pool, started_s = Pool(self.target), time.monotonic()

        async def client(number: int) -> None:
            source = random.Random(self.seed * 1000 + number)
            while not self._is_over(started_s, seconds):
                await self.one(pool, source, time.monotonic())
                if think_s or self.report.samples[-1].is_lost:
                    pause_s = source.expovariate(1 / think_s) if think_s else 0.05
                    await asyncio.sleep(pause_s)

        await asyncio.gather(*(client(number) for number in range(clients)))
        return self._ended(pool, started_s)

    async def open(self, rate: float, seconds: float) -> Report:
        """Arrivals at random, `rate` a second on the average."""
        pool, source = Pool(self.target), random.Random(self.seed)
        started_s = meant_s = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        while not self._is_over(started_s, seconds):
            meant_s += source.expovariate(rate)
            await asyncio.sleep(max(0.0, meant_s - time.monotonic()))
            task = asyncio.create_task(self.one(pool, source, meant_s))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running, timeout=self.timeout_s + GRACE_S)
        return self._ended(pool, started_s)

    def _is_over(self, started_s: float, seconds: float) -> bool:
        return self.stop.is_set() or time.monotonic() - started_s >= seconds

    def _ended(self, pool: Pool, started_s: float) -> Report:
        pool.close()
        self.report.seconds = time.monotonic() - started_s
        return self.report


def sample_of(answer: Answer, meant_s: float) -> Sample:
    """The sample of an answer."""
    return Sample(
        meant_s=meant_s,
        first_byte_s=answer.first_byte_s,
        end_s=answer.end_s,
        longest_gap_s=answer.longest_gap_s,
        status=answer.status,
        outcome=_outcome(answer),
        tokens=answer.tokens,
        retry_after=answer.header("retry-after"),
    )


def _outcome(answer: Answer) -> str:
    if answer.failure:
        return answer.failure
    if answer.status == 503 and answer.header("retry-after"):
        return "busy"
    if answer.status >= 500:
        return "failed"
    if answer.status >= 400:
        return "refused"
    if b'{"error"' in answer.body:
        return "error"
    return "ok" if answer.is_finished else "cut"


async def closed_loop(
    url: str, key: str | None, model: str, clients: int, seconds: float, **more: Any
) -> Report:
    """A closed loop; `more` are further fields of Load."""
    ca = more.pop("ca", None)
    return await Load(Target(url, key, ca), model, **more).closed(clients, seconds)


async def open_loop(
    url: str, key: str | None, model: str, rate: float, seconds: float, **more: Any
) -> Report:
    """An open loop of so many arrivals a second; `more` are further fields of Load."""
    ca = more.pop("ca", None)
    return await Load(Target(url, key, ca), model, **more).open(rate, seconds)


class Background:
    """A load that runs beside what a test does; ends with the block, and then has its whole report.

    with Background(Load(target, "qwen3:0.6b"), clients=8) as load:
        change_something()
    assert not load.report.lost
    """

    def __init__(self, load: Load, *, clients: int = 0, rate: float = 0.0) -> None:
        assert bool(clients) != bool(rate), "say either clients or a rate"
        self.load, self.report = load, load.report
        forever = math.inf
        begin: Callable[[], Coroutine[Any, Any, Report]] = (
            (lambda: load.closed(clients, forever))
            if clients
            else (lambda: load.open(rate, forever))
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(begin()), daemon=True)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.load.stop.set()
        self._thread.join(self.load.timeout_s + 2 * GRACE_S)
        assert not self._thread.is_alive(), "the load did not end"

    def wait_for(self, answers: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more requests were answered."""
        wanted = len(self.report.answered) + answers
        deadline = time.monotonic() + timeout_s
        while len(self.report.answered) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{answers} answers did not come in {timeout_s:g} s: {self.report}"
                )
            time.sleep(0.05)


def main() -> None:
    """Run one load and print its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="http://HOST:PORT or https://HOST:PORT")
    parser.add_argument("model")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--clients", type=int, help="closed loop")
    how.add_argument("--rate", type=float, help="open loop: arrivals a second")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--think", type=float, default=0, help="mean seconds of thought (closed)")
    parser.add_argument("--path", default="/api/chat", help="or /v1/chat/completions")
    parser.add_argument("--key-file", type=Path, help="file with the API key")
    parser.add_argument(
        "--ca", help="PEM file of the authority that the server's certificate is from"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    key = wanted.key_file.read_text().strip() if wanted.key_file else None
    load = Load(
        Target(wanted.url, key, wanted.ca), wanted.model, path=wanted.path, seed=wanted.seed
    )
    if wanted.clients:
        report = asyncio.run(load.closed(wanted.clients, wanted.seconds, wanted.think))
    else:
        report = asyncio.run(load.open(wanted.rate, wanted.seconds))
    print(report if wanted.json else report.table())


if __name__ == "__main__":
    main()
