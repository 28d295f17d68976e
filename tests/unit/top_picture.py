"""The picture of docs/top.md: `python -m tests.unit.top_picture docs/pictures/top.svg`."""

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ollama_fleet.top.model import FleetNow
from ollama_fleet.top.screen import lines_of
from tests.unit.top_fleet import healthy, troubled

WIDTH = 112


def fleet() -> FleetNow:
    """A host that lost a GPU, and one that is well."""
    sick, well = troubled().machines[0], healthy().machines[1]
    machines = (replace(sick, name="gpu01", alarms=renamed(sick)), replace(well, name="gpu02"))
    return replace(healthy(), inventory="prod.yml", machines=machines)


def renamed(machine: object) -> tuple:
    """Its alarms under its other name."""
    return tuple(replace(alarm, host="gpu01") for alarm in machine.alarms)


def picture() -> str:
    """SVG that fetches nothing: Rich's own names fonts of a server."""
    console = Console(file=io.StringIO(), width=WIDTH, record=True, color_system="truecolor")
    for line in lines_of(fleet(), WIDTH):
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    text = console.export_svg(title="fleet top inventory/prod.yml", unique_id="top")
    text = re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.S)
    return re.sub(r"[ \t]+\n", "\n", text.replace("Fira Code", "DejaVu Sans Mono")) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(), encoding="utf-8")
