"""Least connections with one queue against round robin and others, and against the ideal.

    .venv/bin/python benchmarks/balancing.py [--set 4x1] [--loads 50 80 95] [--seconds 30]

Every balancer is the real program, in front of slices that hold a request as long as its service time says.
All get the same arrivals (Poisson) with the same service times (log-normal, sigma 1: an assumption of
ours) at the same time, so ratios are of one run. One mean answer takes 0.1 s here and stands for seconds on
a GPU; figures are in mean answers. `ideal` is one queue for all slots without any cost, replayed exactly.

A set such as 4x2 is four slices with two parallel requests each, 2x1+2x1@2 two of speed 1 and two twice as
fast. Needs nginx and haproxy.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.balancers import OURS, POLICIES, Policy, free_ports, running
from benchmarks.balancing_cases import Case, Row, arrivals_of, table
from benchmarks.central_queue import (
    Arrival,
    Passage,
    Queueing,
    least_connections,
    queueing,
    replay,
    round_robin,
)
from benchmarks.fake_slices import Slice, serve
from benchmarks.load_client import Pool, Target
from benchmarks.load_report import percentile
from benchmarks.loopback import MODEL
from benchmarks.loopback import running as gateway

SETTLES_S = 2.0  # until the balancers know their slices
IDEAL = "ideal: one queue, no cost"
BODY = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"service=%.6f"}}]}}'.encode()


async def drive(
    target: Target, arrivals: Sequence[Arrival], speed_of: dict[str, float]
) -> list[Passage | None]:
    """Send every arrival when it is due; None for those that got an error."""
    pool = Pool(target)
    found: list[Passage | None] = [None] * len(arrivals)

    async def one(number: int, meant_s: float) -> None:
        service_s = arrivals[number].service_s
        request = pool.target.request("/api/chat", BODY % service_s)
        answer = await pool.ask(request, 600)
        if answer.status == 200 and answer.is_finished and answer.first_byte_s:
            total_s = answer.first_byte_s - meant_s
            found[number] = Passage(
                total_s - service_s / speed_of[answer.header("x-slice")], total_s
            )

    started_s = time.monotonic() + SETTLES_S
    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(arrivals):
            meant_s = started_s + arrival.at_s
            await asyncio.sleep(max(0.0, meant_s - time.monotonic()))
            group.create_task(one(number, meant_s))
    pool.close()
    return found


async def lags(found: list[float]) -> None:
    """How late this process wakes up: what the machine adds to every figure."""
    while True:
        due_s = time.monotonic() + 0.02
        await asyncio.sleep(0.02)
        found.append(time.monotonic() - due_s)


async def measure(case: Case, folder: Path) -> list[Row]:
    """All policies at the same time, each with slices of its own; the ideal first."""
    arrivals, late = arrivals_of(case), []
    watch = asyncio.create_task(lags(late))
    with contextlib.ExitStack() as stack:
        targets = [
            await _start(stack, policy, case.slices, folder / str(number))
            for number, policy in enumerate(POLICIES)
        ]
        speed_of = {one.name: one.speed for one in case.slices}
        driven = await asyncio.gather(*(drive(target, arrivals, speed_of) for target in targets))
    watch.cancel()
    print(
        f"   this process woke up {percentile(late, 99) * 1000:.1f} ms late (p99)", file=sys.stderr
    )
    names = [policy.name for policy in POLICIES]
    rows = [case.row(name, passages) for name, passages in zip(names, driven, strict=True)]
    return [case.row(IDEAL, replay(arrivals, case.slots)), *rows]


async def _start(
    stack: contextlib.ExitStack, policy: Policy, slices: list[Slice], folder: Path
) -> Target:
    """Slices and their balancer; how to reach it."""
    port, *ports = free_ports(1 + len(slices))
    for server in await serve(slices, ports):
        stack.callback(server.close)
    if policy is OURS:
        folder.mkdir()
        speeds = [one.speed for one in slices]
        starting = gateway(folder, ports, slices[0].parallel, speeds)
        way = await asyncio.to_thread(stack.enter_context, starting)
        return Target(way.url, way.key, way.ca)
    placed = list(zip(ports, slices, strict=True))
    await asyncio.to_thread(stack.enter_context, running(policy, port, placed, folder))
    return Target(f"http://127.0.0.1:{port}")


def simulate(case: Case) -> list[Row]:
    """The same without proxies and clocks: long enough to settle. The ideal first."""
    arrivals = arrivals_of(case)
    choices = {
        "least connections, slices queue": least_connections,
        "round robin, slices queue": round_robin(),
    }
    rows = [case.row(IDEAL, replay(arrivals, case.slots))]
    for name, choose in choices.items():
        slices = [Queueing(one.parallel, one.speed) for one in case.slices]
        rows.append(case.row(name, queueing(arrivals, slices, choose)))
    return rows


def measured(case: Case) -> list[Row]:
    """The real balancers, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(case, Path(folder)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", dest="sets", nargs="+", default=["4x1"])
    parser.add_argument("--loads", type=int, nargs="+", default=[50, 80, 95], help="percent")
    parser.add_argument("--seconds", type=float, default=30, help="of each table")
    parser.add_argument("--mean", type=float, default=0.1, help="seconds of a mean answer")
    parser.add_argument("--simulate", action="store_true", help="no proxies, no clock")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with contextlib.suppress(PermissionError):
        # Else whatever runs beside it wakes all of it up late; it takes a tenth of a core.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    began_s = time.monotonic()
    for shape in wanted.sets:
        for load in wanted.loads:
            case = Case(shape, load / 100, wanted.seconds, wanted.mean, wanted.seed)
            print(f"\n{shape}, {load} % load: waiting in mean answers\n", flush=True)
            print(table(simulate(case) if wanted.simulate else measured(case)), flush=True)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in used)
    share = cpu_s / (time.monotonic() - began_s)
    print(f"\n{share:.0%} of one core for clients, slices and balancers")


if __name__ == "__main__":
    main()
