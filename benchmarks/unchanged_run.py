"""What an unchanged run costs on a host with eight slices: SSH execs and wall time, as ratios.

    .venv/bin/python benchmarks/unchanged_run.py [--host bench8] [--rounds 5]

Brings up a lab host with 8 × RTX 3090, deploys 8 slices, then measures in one go, interleaved:
`ssh HOST true` (a new connection), Python's start-up (importing pyinfra and this project), and an
unchanged `pyinfra -y` run. Execs are counted by wrapping the one method of pyinfra through which all
of them go; reads need no file transfer, and a transfer would be counted as well.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.lab import Lab  # noqa: E402
from tests.lab.fleet import Fleet  # noqa: E402

HOST = "bench8"
MODELS = ["qwen3:0.6b", "qwen3:1.7b", "qwen3:8b", "llama3.2:1b"]
IMPORTS = "import pyinfra_cli.cli, ollama_fleet.inventory, ollama_fleet.host.session, tasks.verify"

COUNTER = """
import sys
from pyinfra.connectors.ssh import SSHConnector
calls = []
for name in ("run_shell_command", "put_file", "get_file"):
    def wrap(original):
        def counted(*args, **kwargs):
            calls.append(original.__name__)
            return original(*args, **kwargs)
        return counted
    setattr(SSHConnector, name, wrap(getattr(SSHConnector, name)))
from pyinfra_cli.main import main
try:
    main()
finally:
    print("COUNTED", len(calls), file=sys.stderr)
"""


def slices_of() -> list[dict[str, object]]:
    """Eight slices, one per GPU."""
    return [
        {"name": f"s{n}", "gpus": [n], "port": 11434 + n, "models": [MODELS[n % len(MODELS)]]}
        for n in range(8)
    ]


def seconds(command: list[str], **kwargs: object) -> float:
    """Wall time of a command that has to succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, **kwargs)
    return time.perf_counter() - started


def count_execs(arguments: list[str]) -> int:
    """SSH execs of one pyinfra run."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTER, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return int(done.stderr.rpartition("COUNTED")[2].split()[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--host", default=HOST)
    options = parser.parse_args()
    lab = Lab(ROOT / ".lab")
    before = [item.name for item in lab.status()]
    lab.ensure(options.host, "8x-rtx3090")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(Fleet(Path(folder), lab), options.host, options.rounds)
    finally:
        if not before:
            lab.down()
        elif options.host not in before:
            lab.remove(options.host)


def measure(fleet: Fleet, host: str, rounds: int) -> None:
    """Deploy once, then take `rounds` interleaved readings of each figure."""
    fleet.add(host, *slices_of())
    first = fleet.deploy()
    assert first.code == 0, first.text
    assert fleet.deploy().changed() == {}

    arguments = [str(fleet.inventory), "deploy.py", "-y"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ssh, python, run = [], [], []
    for _ in range(rounds):
        ssh.append(seconds([*fleet.lab.ssh_command(host), "true"]))
        python.append(seconds([sys.executable, "-c", IMPORTS], env=environment))
        run.append(seconds(fleet.command("-y"), cwd=ROOT))
    report(count_execs(arguments), *map(statistics.median, (ssh, python, run)))


def report(execs: int, ssh_s: float, python_s: float, run_s: float) -> None:
    """Print the figures and the two aims."""
    allowed_s = 3 * ssh_s + python_s
    print("slices                        8, each with one real generation in every run")
    print(f"SSH execs, unchanged run      {execs}   (aim: 2, to ask and to verify)")
    print(f"ssh HOST true                 {ssh_s:.2f} s")
    print(f"Python's start-up             {python_s:.2f} s")
    print(f"unchanged run                 {run_s:.2f} s")
    print(f"(run - start-up) / ssh true   {(run_s - python_s) / ssh_s:.2f}   (aim: 3 or less)")
    print(f"run / (3 × ssh + start-up)    {run_s / allowed_s:.2f}   (aim: 1 or less)")


if __name__ == "__main__":
    main()
