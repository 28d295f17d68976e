"""Where the time of an unchanged run goes on this side: seconds and CPU seconds, phase by phase.

    .venv/bin/python benchmarks/run_phases.py [INVENTORY.py] [--host bench8] [--rounds 5]

Runs `pyinfra INVENTORY.py deploy.py -y` on a fleet that is as wanted, with a clock at the doors of the
phases, and prints medians. Without an inventory it deploys eight slices to a lab host first. CPU seconds
hardly depend on what else a machine does; wall time does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.unchanged_run import HOST, slices_of  # noqa: E402
from lab.lab import Lab  # noqa: E402
from tests.lab.fleet import Fleet  # noqa: E402

CLOCK = """
import atexit, json, os, sys, time
started_s = time.time()
wall, cpu = time.perf_counter(), 0.0
wall -= started_s - float(os.environ["STARTED"])
spent, phases = {}, ["Python and pyinfra"]
def book(phase):
    global wall, cpu
    now, used = time.perf_counter(), time.process_time()
    seconds = spent.setdefault(phase, [0.0, 0.0])
    seconds[0] += now - wall
    seconds[1] += used - cpu
    wall, cpu = now, used
def timed(owner, name, phase):
    original = getattr(owner, name)
    def call(*arguments, **options):
        book(phases[-1])
        phases.append(phase)
        try:
            return original(*arguments, **options)
        finally:
            book(phases.pop())
    setattr(owner, name, call)
def at_end():
    book("end: checks' table, history")
    print("PHASES", json.dumps(spent), file=sys.stderr)
import pyinfra_cli.cli as cli
from pyinfra.connectors.ssh import SSHConnector
from pyinfra_cli.main import main
timed(cli, "_set_config", "config.py and what it imports")
timed(cli, "make_inventory", "inventory")
timed(cli, "connect_all", "connect")
timed(cli, "_handle_commands", "prepare")
timed(cli, "run_ops", "operations")
timed(SSHConnector, "run_shell_command", "execs on the host")
atexit.register(at_end)
try:
    main()
finally:
    book(phases[-1])
"""

Phases = dict[str, list[float]]


def one_run(inventory: Path) -> Phases:
    """Phase to wall and CPU seconds of one run."""
    start = ["sh", "-c", 'STARTED=$(date +%s.%N) exec "$@"', "sh", sys.executable, "-c", CLOCK]
    done = subprocess.run(
        [*start, str(inventory), "deploy.py", "-y"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: Phases = json.loads(done.stderr.rpartition("PHASES ")[2].splitlines()[0])
    return found


def report(rounds: list[Phases]) -> None:
    """Medians of each phase, and of the whole."""
    print(f"{'phase':32} {'wall s':>8} {'CPU s':>8}")
    for phase in rounds[0]:
        wall, cpu = (statistics.median(one[phase][i] for one in rounds) for i in (0, 1))
        print(f"{phase:32} {wall:8.3f} {cpu:8.3f}")
    wall, cpu = (
        statistics.median(sum(v[i] for v in one.values()) for one in rounds) for i in (0, 1)
    )
    print(f"{'all':32} {wall:8.3f} {cpu:8.3f}")


@contextmanager
def lab_fleet(host: str) -> Iterator[Path]:
    """Eight slices on a lab host, deployed; the host goes again unless it was there."""
    lab = Lab(ROOT / ".lab")
    there = any(item.name == host for item in lab.status())
    lab.ensure(host, "8x-rtx3090")
    try:
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), lab)
            fleet.add(host, *slices_of())
            first = fleet.deploy()
            assert first.code == 0, first.text
            yield fleet.inventory
    finally:
        if not there:
            lab.remove(host)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inventory", nargs="?", type=Path)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.inventory:
        report([one_run(options.inventory.resolve()) for _ in range(options.rounds)])
        return
    with lab_fleet(options.host) as inventory:
        one_run(inventory)  # compiles what was not
        report([one_run(inventory) for _ in range(options.rounds)])


if __name__ == "__main__":
    main()
