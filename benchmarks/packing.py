"""How tightly wishes are packed: GPUs used against the lower bound and against first fit.

    .venv/bin/python benchmarks/packing.py [--hosts 10 100 1000] [--seed 1] [--solver-s 10]

Fleets of 8 × RTX 3090 are filled to about four fifths with wishes as sites have them, in a random
order: a pool of small models that share GPUs, models of one GPU, 70B on two, 235B on a whole host.

- first fit   each wish of the file in turn onto the first GPUs with room; replicas of one wish on
              different slices, but not on different hosts
- plan        what `plan_fleet` makes by default: as the file says, replicas on different hosts
- tight       `plan_fleet(tight=True)` by its heuristics; with solver: OR-tools as well, if installed

Seconds are those of the whole call, without reading the file. The lower bound counts memory only.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ollama_fleet.planner.board import new_board
from ollama_fleet.planner.bounds import fewest_gpus
from ollama_fleet.planner.demand import Demand, demands_of, options_of
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.hosts import written_host
from ollama_fleet.planner.memory import FIT_TARGET_MIB
from ollama_fleet.planner.needs import Needs, Seat
from ollama_fleet.planner.solver import solver_is_there
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.spec.known import known_to

POOLED = (
    *("qwen3:0.6b", "qwen3:1.7b", "qwen3:4b", "qwen3:8b", "qwen3:14b", "llama3.1:8b", "gemma3:4b"),
    *("gemma3:12b", "mistral:7b", "qwen2.5-coder:7b", "qwen2.5:14b", "deepseek-r1:14b", "phi4:14b"),
    *("llama3.2:1b", "llama3.2:3b", "nomic-embed-text", "bge-m3", "codellama:7b", "gpt-oss:20b"),
)
ALONE = ("qwen3:30b", "codellama:34b", "deepseek-r1:32b", "gemma3:27b", "yi:34b")
LARGE = ("llama3:70b", "qwen2:72b", "deepseek-r1:70b")
POOL_SHARE, ALONE_SHARE, LARGE_SHARE, HUGE_SHARE = 0.45, 0.16, 0.16, 0.06
USABLE_MIB = 24159
EIGHT = {"gpus": [{"model": "RTX 3090", "count": 8}]}


def wishes(gpus: int, rng: random.Random) -> list[dict[str, Any]]:
    """Wishes for about four fifths of `gpus`, in a random order."""
    weights = {tag: rng.uniform(0.2, 1.0) for tag in POOLED}
    mib = sum(weights[tag] * need for tag, need in pooled_mib().items())
    times = gpus * POOL_SHARE * USABLE_MIB / mib
    found: list[dict[str, Any]] = [
        {"model": tag, "pool": "small", "replicas": max(1, round(times * weights[tag]))}
        for tag in POOLED
    ]
    for share, tags, each in ((ALONE_SHARE, ALONE, 1), (LARGE_SHARE, LARGE, 2)):
        count = max(1, round(gpus * share / each / len(tags)))
        found += [{"model": tag, "replicas": count} for tag in tags]
    if huge := round(gpus * HUGE_SHARE / 8):
        found.append({"model": "qwen3:235b", "replicas": huge, "gpus": 8})
    rng.shuffle(found)
    return found


def make_fleet(hosts: int, wished: list[dict[str, Any]]) -> Fleet:
    """A fleet of hosts with 8 GPUs each."""
    names = (f"gpu{number:04}" for number in range(hosts))
    data = {"version": 1, "hosts": dict.fromkeys(names, EIGHT), "wishes": wished}
    return Fleet.model_validate(data)


def seats(fleet: Fleet) -> list[tuple[Demand, Seat]]:
    """What each wish needs."""
    needs = Needs(known_to(fleet))
    board = new_board([written_host(n, s, needs).board for n, s in fleet.hosts.items()])
    return [(one, options_of(one, board, needs)[0].seat) for one in demands_of(fleet)]


def pooled_mib() -> dict[str, float]:
    """MiB that each pooled model needs."""
    fleet = make_fleet(1, [{"model": tag, "pool": "small"} for tag in POOLED])
    return {demand.spec.model or "": seat.needed_mib for demand, seat in seats(fleet)}


@dataclass
class Gpu:
    """One GPU of the baseline; it obeys the same rules as a plan's."""

    needed_mib: float = 0.0
    total_mib: float = 0.0
    beside_mib: float = FIT_TARGET_MIB
    wishes: set[Demand] = field(default_factory=set)

    def takes(self, demand: Demand, seat: Seat) -> bool:
        """Whether one more replica of the pool fits."""
        if not self.wishes:
            return True
        beside = max(self.beside_mib, seat.swing_mib)
        return (
            next(iter(self.wishes)).pool == demand.pool is not None
            and demand not in self.wishes
            and self.needed_mib + seat.needed_mib <= USABLE_MIB
            and self.total_mib + seat.total_mib + beside <= USABLE_MIB
        )

    def add(self, demand: Demand, seat: Seat) -> None:
        """Put it there."""
        self.needed_mib += seat.needed_mib
        self.total_mib += seat.total_mib
        self.beside_mib = max(self.beside_mib, seat.swing_mib)
        self.wishes.add(demand)


def first_fit(fleet: Fleet) -> tuple[int, int]:
    """GPUs used and replicas without a place by the baseline."""
    hosts = [[Gpu() for _ in range(8)] for _ in fleet.hosts]
    missing = 0
    for demand, seat in seats(fleet):
        start = 0  # identical replicas: no host before the last one has room
        for _ in range(demand.spec.replicas):
            for order in range(start, len(hosts)):
                usable = [gpu for gpu in hosts[order] if gpu.takes(demand, seat)]
                if seat.gpus > 1 or not demand.pool:
                    usable = [gpu for gpu in usable if not gpu.wishes]
                if len(usable) >= seat.gpus:
                    for gpu in usable[: seat.gpus]:
                        gpu.add(demand, seat)
                    break
            else:
                missing += 1
            start = order
    return sum(bool(gpu.wishes) for host in hosts for gpu in host), missing


def measured(fleet: Fleet, **how: Any) -> tuple[int, int, float]:
    """GPUs used, wishes refused, seconds of one plan."""
    started = time.perf_counter()
    plan = plan_fleet(fleet, **how)
    return plan.gpus_used, len(plan.refusals), time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--solver-s", type=float, default=10.0)
    arguments = parser.parse_args()
    print("hosts  method       GPUs  lower bound  over bound  against first fit  refused  seconds")
    for hosts in arguments.hosts:
        fleet = make_fleet(hosts, wishes(8 * hosts, random.Random(arguments.seed)))
        bound = fewest_gpus(fleet)
        started = time.perf_counter()
        base, missing = first_fit(fleet)
        rows = [("first fit", base, missing, time.perf_counter() - started)]
        rows.append(("plan", *measured(fleet, solver_s=0)))
        rows.append(("tight", *measured(fleet, tight=True, solver_s=0)))
        if solver_is_there():
            rows.append(("with solver", *measured(fleet, tight=True, solver_s=arguments.solver_s)))
        for name, gpus, refused, seconds in rows:
            print(
                f"{hosts:5}  {name:11} {gpus:5} {bound:12} {gpus / bound - 1:+11.1%}"
                f" {gpus / base - 1:+18.1%} {refused:8} {seconds:8.2f}"
            )


if __name__ == "__main__":
    main()
