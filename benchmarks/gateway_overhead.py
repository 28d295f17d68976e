"""What the gateway adds to a request: to the time to its first byte, and to what the machine can do.

    .venv/bin/python benchmarks/gateway_overhead.py [--clients 1 16 64] [--rounds 5]

The product's own nginx (TLS, routing by body), balancer and hop (TLS with certificates) run on this
machine, with slices that answer at once and stream words. The same clients ask the slices directly and
through the gateway in turn, round after round in one run; connections are kept where the other side lets
them, as the official clients do (the gateway does not: docs/decisions/router.md). Once with TLS and once in
plain HTTP. Clients, slices and gateway share the machine's cores, so that what is added here is more than
between machines; their network comes on top there.

Needs root, nginx with its JavaScript module, haproxy and openssl.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.balancers import free_ports
from benchmarks.fake_slices import Slice, serve
from benchmarks.load_client import Pool, Target
from benchmarks.load_report import percentile
from benchmarks.loopback import MODEL, Way, cpu_s, running

SLICES = 4
PARALLEL = 256  # of each slice: nobody waits
THINK_S = 0.02  # between two requests of one client, in the mean
WARM_UP_S = 3.0
BODY = (
    f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"HOW {"word " * 150}"}}],"stream":true}}'
).encode()


@dataclass
class Found:
    """First bytes of one way (seconds), requests that failed, and how much was done in which time."""

    first_byte_s: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    def ms(self, percent: float) -> float:
        """A percentile in milliseconds."""
        return percentile(self.first_byte_s, percent) * 1000

    @property
    def per_s(self) -> float:
        return len(self.first_byte_s) / self.seconds


async def ask(
    pool: Pool, how: str, clients: int, seconds: float, think_s: float, found: Found
) -> None:
    """So many clients for so long."""
    request = pool.target.request("/api/chat", BODY.replace(b"HOW", how.encode()))
    begun_s = time.monotonic()

    async def client(number: int) -> None:
        await asyncio.sleep(think_s * number / clients)
        while time.monotonic() - begun_s < seconds:
            meant_s = time.monotonic()
            answer = await pool.ask(request, 60)
            if answer.failure or answer.status != 200 or not answer.first_byte_s:
                found.failed += 1
            else:
                found.first_byte_s.append(answer.first_byte_s - meant_s)
            if think_s:
                await asyncio.sleep(think_s)

    await asyncio.gather(*(client(number) for number in range(clients)))
    found.seconds += time.monotonic() - begun_s


@dataclass(frozen=True)
class Shape:
    """What is measured: clients, and the words of an answer with the pause between them (seconds)."""

    clients: int
    words: int = 0
    gap_s: float = 0.0
    think_s: float = THINK_S

    @property
    def how(self) -> str:
        """What the slices are to do."""
        return f"pieces={self.words} gap={self.gap_s}"


async def in_turn(
    shape: Shape, rounds: int, seconds: float, ways: dict[str, Target]
) -> dict[str, Found]:
    """Every way for a while, again and again; nothing of the first moments counts."""
    pools = {name: Pool(target) for name, target in ways.items()}
    found = {name: Found() for name in ways}
    for pool in pools.values():
        await ask(pool, shape.how, shape.clients, 0.5, shape.think_s, Found())
    for _ in range(rounds):
        for name, pool in pools.items():
            await ask(pool, shape.how, shape.clients, seconds, shape.think_s, found[name])
    for pool in pools.values():
        pool.close()
    return found


def line(shape: Shape, found: dict[str, Found]) -> str:
    """One row of the table."""
    direct, *through = found.values()
    cells = [str(shape.clients), *(f"{direct.ms(p):.2f}" for p in (50, 99))]
    for way in through:
        cells += [f"{way.ms(p) - direct.ms(p):.2f}" for p in (50, 99)]
    rates = " / ".join(f"{way.per_s:.0f}" for way in found.values())
    return f"| {' | '.join([*cells, rates, str(sum(way.failed for way in found.values()))])} |"


HEADER = """| clients | direct p50 | p99 | TLS adds p50 | p99 | plain adds p50 | p99 | requests/s | failed |
|---|---|---|---|---|---|---|---|---|"""


async def measure(tls: Way, plain: Way, slices: list[int], wanted: argparse.Namespace) -> None:
    """Latency at several numbers of clients, then many streams, then as fast as it goes."""
    ways = {
        "direct": Target(f"http://127.0.0.1:{slices[0]}"),
        "TLS": Target(tls.url, tls.key, tls.ca),
        "plain": Target(plain.url, plain.key),
    }
    await asyncio.sleep(WARM_UP_S)
    print(
        f"Milliseconds to the first byte; each request on a new connection to the gateway\n\n{HEADER}"
    )
    for clients in wanted.clients:
        shape = Shape(clients)
        print(line(shape, await in_turn(shape, wanted.rounds, 1.0, ways)), flush=True)
    streams = Shape(wanted.streams, words=20, gap_s=0.25, think_s=1.0)
    print(
        line(streams, await in_turn(streams, 2, 8.0, ways)), "streams: 5 s, 4 words/s", flush=True
    )
    await throughput(tls, ways, wanted.rounds)


async def throughput(way: Way, ways: dict[str, Target], rounds: int) -> None:
    """As many requests as go through, and the CPU that each takes in the gateway."""
    processes = (way.nginx.pid, way.balancer.pid, way.hop.pid)
    before = [cpu_s(pid) for pid in processes]
    found = await in_turn(Shape(32, think_s=0.0), rounds, 1.0, ways)
    done = len(found["TLS"].first_byte_s)
    used = [(cpu_s(pid) - was) * 1e6 / done for pid, was in zip(processes, before, strict=True)]
    names = ("nginx", "balancer", "hop")
    rates = ", ".join(f"{way.per_s:.0f} {name}" for name, way in found.items())
    spent = ", ".join(f"{name} {micro:.0f} µs" for name, micro in zip(names, used, strict=True))
    print(
        f"\nAs fast as it goes, 32 clients, requests/s: {rates}\nCPU of a request with TLS: {spent}"
    )


async def run(wanted: argparse.Namespace) -> None:
    """Slices, the way to them, the figures."""
    with tempfile.TemporaryDirectory(prefix="way") as folder:
        ports = free_ports(SLICES)
        servers = await serve([Slice(f"s{n}", 10_000) for n in range(SLICES)], ports)
        with contextlib.ExitStack() as stack:
            ways = []
            for tls in ("internal", "none"):
                place = Path(folder, tls)
                place.mkdir()
                starting = running(place, ports, PARALLEL, tls=tls)
                ways.append(await asyncio.to_thread(stack.enter_context, starting))
            await measure(*ways, ports, wanted)
        for server in servers:
            server.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    asyncio.run(run(wanted))


if __name__ == "__main__":
    main()
