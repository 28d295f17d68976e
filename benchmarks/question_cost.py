"""What the questions of an unchanged run cost a host with eight slices: processes and CPU time.

    .venv/bin/python benchmarks/question_cost.py [--host bench8] [--rounds 5]

Wall time depends on what else a machine does; these two hardly do. Runs the very text of each question
on a lab host, all in one shell, as a run does: preflight's with all that is asked ahead, then the
verification's. Processes are counted by the kernel's own numbering, CPU time is the whole host's, so that
systemd and the slices count as well. The generations go on while later questions are asked, which pay
for them here.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.unchanged_run import HOST, slices_of  # noqa: E402
from lab.lab import Lab  # noqa: E402
from ollama_fleet.checks.registry import verification_questions  # noqa: E402
from ollama_fleet.cli.rendering import release_of  # noqa: E402
from ollama_fleet.host.ahead import ahead  # noqa: E402
from ollama_fleet.host.verification import LASTING  # noqa: E402
from ollama_fleet.inventory import fleet_hosts  # noqa: E402
from ollama_fleet.load import load_fleet  # noqa: E402
from ollama_fleet.planner.plan import HostPlan  # noqa: E402
from ollama_fleet.preflight import QUESTIONS  # noqa: E402
from tests.lab.fleet import Fleet  # noqa: E402

# Built-ins only: looking costs no process. `last` is the newest process id of this host.
_NOW = """now() {
    read -r _ _ _ _ last </proc/loadavg
    read -r _ cpu </sys/fs/cgroup/cpu.stat
    echo "$1 $last $cpu"
}"""

Costs = dict[str, tuple[int, float]]


def script(questions: dict[str, str]) -> str:
    """Shell that asks `questions` and prints the two counters before each."""
    path = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    asked = [
        f"now '{name.replace(' ', '_')}'\n(\n{text}\n) </dev/null >/dev/null 2>&1"
        for name, text in questions.items()
    ]
    return "\n".join([path, _NOW, *asked, "now end"])


def costs(printed: str) -> Costs:
    """Question to processes and CPU milliseconds."""
    rows = [line.split() for line in printed.splitlines()]
    found: Costs = {}
    for (name, last, cpu), (_, next_last, next_cpu) in itertools.pairwise(rows):
        found[name] = (int(next_last) - int(last), (int(next_cpu) - int(cpu)) / 1000)
    return found


def report(title: str, rounds: list[Costs]) -> None:
    """Medians, the dearest first, and their sum."""
    medians = {
        name: [statistics.median(costs[name][i] for costs in rounds) for i in (0, 1)]
        for name in rounds[0]
    }
    totals = [
        statistics.median(sum(v[i] for v in costs.values()) for costs in rounds) for i in (0, 1)
    ]
    print(f"{title}: {totals[0]:.0f} processes, {totals[1]:.0f} ms of CPU")
    for name, (forks, cpu_ms) in sorted(medians.items(), key=lambda item: -item[1][1]):
        print(f"  {name:28} {forks:5.0f} {cpu_ms:8.1f}")


def plan_of(inventory: Path) -> HostPlan:
    """The plan of its one host, as a deploy has it, with its release."""
    fleet = load_fleet(inventory)
    ((name, data),) = fleet_hosts(fleet, inventory)
    release, _ = release_of(fleet, name, inventory.parent)
    return replace(data["plan"], release=release)


def main() -> None:
    """Deploy once, then ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    lab = Lab(ROOT / ".lab")
    there = any(item.name == options.host for item in lab.status())
    lab.ensure(options.host, "8x-rtx3090")
    try:
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), lab)
            fleet.add(options.host, *slices_of())
            first = fleet.deploy()
            assert first.code == 0, first.text
            path = fleet.inventory.with_suffix(".yml")
            plan = plan_of(path)
        # By text, because no text is asked twice.
        first_asked = {
            text: name for group in (QUESTIONS, *ahead(plan)) for name, text in group.items()
        }
        then = {
            name: text
            for name, text in verification_questions(plan).items()
            if not (name.startswith(LASTING) and text in first_asked)
        }
        groups = {
            "asked ahead": {name: text for text, name in first_asked.items()},
            "verification": then,
        }
        for title, questions in groups.items():
            text = script(questions)
            printed = [fleet.sh(options.host, text) for _ in range(options.rounds)]
            report(title, [costs(one) for one in printed])
    finally:
        if not there:
            lab.remove(options.host)


if __name__ == "__main__":
    main()
