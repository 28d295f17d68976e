"""What the README shows of `fleet plan` is what it prints."""

import re
from pathlib import Path

from tests.unit.fleet_cli import fleet

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"^\$ \.venv/bin/fleet (.*)\n((?:(?!\$ |```).*\n)*)", re.M)


def test_the_plans_in_the_readme_are_those_of_the_examples() -> None:
    found = SHOWN.findall((ROOT / "README.md").read_text("utf-8"))
    assert len(found) == 2
    for words, shown in found:
        refused = 3 if "refused:" in shown else 0
        done = fleet(*words.split(), code=refused)
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        for line in filter(None, map(str.strip, shown.splitlines())):
            assert line == "…" or line in said, line
