"""What a steady load notices when something breaks, and when something is changed on purpose.

    .venv/bin/python benchmarks/gateway_faults.py [--only "slice killed"] [--json FILE] [--keep]

Four lab hosts: two with two slices each, two gateways. Streaming requests come in a closed loop (each
client asks again at once) and in an open one (Poisson) at the same time, to a third of what the slices can
do, so that what is left after a fault is enough. Per event: requests, how many were lost (not answered as a
whole), the longest time to a first byte and the longest silence inside of an answer, and how long after the
event requests were still started that got lost or waited 2 s longer than usual: after that traffic avoids
the fault. What is changed on purpose must lose nothing.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.faults_fleet import (
    GATEWAYS,
    HOSTS,
    MODEL,
    deployed,
    must,
    next_release,
    slice_of,
)
from benchmarks.load import Background, Load, Mix
from benchmarks.load_client import Target
from benchmarks.load_report import Report
from tests.lab.fleet import Fleet

MIX = Mix(asked_median=100, answered_median=40, sigma=0.8, longest=400)
CLIENTS, RATE = 2, 1.0
QUIET_S = 6.0  # before and after each event
RELOADS = 100
ONE, TWO = HOSTS
# Until a request runs on the first slice (port 11434).
BUSY = """until awk '$2 ~ /:2CAA$/ && $4 == "01" { found = 1 } END { exit !found }' /proc/net/tcp
do sleep 0.05; done"""
Act = Callable[[Fleet], None]


@dataclass(frozen=True)
class Event:
    """Something that happens. `lasts_s`: until `end` makes it good; `planned` ones may lose nothing."""

    name: str
    begin: Act
    end: Act | None = None
    lasts_s: float = 0.0
    planned: bool = False


@dataclass(frozen=True)
class Row:
    """What one loop noticed of an event; times in seconds."""

    event: str
    loop: str
    planned: bool
    requests: int
    lost: int
    outcomes: dict[str, int]
    usual_first_byte_s: float
    longest_first_byte_s: float
    longest_gap_s: float
    hurt_for_s: float
    took_s: float

    def line(self) -> str:
        """One row of the table."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.outcomes.items() if kind != "ok")
        cells = [self.event, self.loop, str(self.requests), str(self.lost), kinds]
        cells += [f"{self.longest_first_byte_s:.1f} s", f"{self.longest_gap_s:.1f} s"]
        cells += [f"{self.hurt_for_s:.1f} s"]
        return f"| {' | '.join(cells)} |"


HEADER = """| event | loop | requests | lost | not ok | longest first byte | silence | hurt for |
|---|---|---|---|---|---|---|---|"""


def on(host: str, command: str) -> Act:
    """A command on a host."""
    return lambda fleet: print(fleet.sh(host, command), end="", file=sys.stderr)


def fault(host: str, name: str, **parameters: object) -> tuple[Act, Act]:
    """A fault of the lab, and its end."""
    return (
        lambda fleet: void(fleet.lab.fault(host, name, **parameters)),
        lambda fleet: void(fleet.lab.clear(host, name)),
    )


def void(_value: object) -> None:
    """Nothing of it."""


def reload_often(fleet: Fleet) -> None:
    """Both programs of the first gateway, again and again."""
    once = "systemctl reload ollama-gateway ollama-balancer && sleep 0.2"
    fleet.sh(GATEWAYS[0], f"for i in $(seq {RELOADS}); do {once}; done")


def change_settings(fleet: Fleet) -> None:
    """Another context for every slice of one host."""
    fleet.hosts[ONE]["slices"] = [slice_of("a", 0, 4096), slice_of("b", 1, 4096)]
    must(fleet)


def upgrade(fleet: Fleet) -> None:
    """Another Ollama on every host."""
    next_release(fleet)
    must(fleet)


def events() -> list[Event]:
    """Everything that happens, in this order."""
    hung, unhung = fault(TWO, "ollama-hung")
    cut, uncut = fault(TWO, "network-cut")
    lost, found = fault(ONE, "gpu-lost", gpu=1)
    restarted = on(ONE, "systemctl restart ollama-b; sleep 3")
    both = "ollama-gateway ollama-balancer"
    kill = f"systemctl kill -s KILL {both}; systemctl stop {both}"
    return [
        Event("slice killed", on(ONE, f"{BUSY}; systemctl kill -s KILL ollama-a"), lasts_s=15),
        Event("slices of a host hung", hung, unhung, lasts_s=45),
        Event("host cut off", cut, uncut, lasts_s=30),
        Event("GPU lost", lost, lambda fleet: (found(fleet), restarted(fleet))[1], lasts_s=30),
        Event(
            "gateway killed",
            on(GATEWAYS[0], kill),
            on(GATEWAYS[0], "systemctl start ollama-gateway"),
            15,
        ),
        Event(f"gateway reloaded {RELOADS} times", reload_often, planned=True),
        Event("slice settings changed", change_settings, planned=True),
        Event("Ollama upgraded on every host", upgrade, planned=True),
    ]


def watch(event: Event, fleet: Fleet, target: Target) -> list[Row]:
    """Let it happen under load; one row per loop."""
    closed, opened = (Load(target, MODEL, mix=MIX, seed=seed, timeout_s=60) for seed in (1, 2))
    with Background(closed, clients=CLIENTS), Background(opened, rate=RATE):
        time.sleep(QUIET_S)
        begun_s = time.monotonic()
        event.begin(fleet)
        if not event.planned:
            time.sleep(event.lasts_s)
        if event.end:
            event.end(fleet)
        took_s = time.monotonic() - begun_s
        time.sleep(QUIET_S)
    loops = (("closed", closed.report), ("open", opened.report))
    return [row_of(event, loop, report, begun_s, took_s) for loop, report in loops]


def row_of(event: Event, loop: str, report: Report, begun_s: float, took_s: float) -> Row:
    """The figures of one loop."""
    usual_s = report.between(0, begun_s - 1).first_byte_s(95)
    waits = [s.first_byte_after_s for s in report.samples]
    hurt_s = report.hurt_for_s(begun_s, usual_s)
    return Row(
        event=event.name,
        loop=loop,
        planned=event.planned,
        requests=len(report.samples),
        lost=len(report.lost),
        outcomes=report.outcomes,
        usual_first_byte_s=round(usual_s, 3),
        longest_first_byte_s=round(max(waits), 3),
        longest_gap_s=round(report.longest_gap_s, 3),
        hurt_for_s=round(hurt_s, 1),
        took_s=round(took_s, 1),
    )


def main() -> None:
    """Deploy, break, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=[], help="names of events, or their beginnings"
    )
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    parser.add_argument(
        "--keep", type=Path, help="folder of the inventory; the lab hosts stay as they are"
    )
    wanted = parser.parse_args()
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        folder = wanted.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        fleet, target = stack.enter_context(deployed(folder, keep=wanted.keep is not None))
        print(HEADER, flush=True)
        for event in events():
            if not wanted.only or event.name.startswith(tuple(wanted.only)):
                found = watch(event, fleet, target)
                rows += found
                print(*(row.line() for row in found), sep="\n", flush=True)
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    broken = sorted({row.event for row in rows if row.planned and row.lost})
    if broken:
        sys.exit(f"requests were lost by changes on purpose: {', '.join(broken)}")


if __name__ == "__main__":
    main()
