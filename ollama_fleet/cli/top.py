"""`fleet top`: all hosts of an inventory at once in the terminal, as they are now."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ollama_fleet.cli.drain import InventoryArgument
from ollama_fleet.cli.ending import FAILED, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.host.connected import Connected

HostOption = Annotated[
    list[str] | None, typer.Option("--host", help="Only this machine; may be given again.")
]
EveryOption = Annotated[
    float,
    typer.Option(
        min=0.5, max=30, help="Seconds between two frames; more where a frame is dear for its host."
    ),
]
OnceOption = Annotated[
    bool, typer.Option("--once", help="Print one frame and end; so does who has no terminal.")
]


def top(
    inventory: InventoryArgument,
    host: HostOption = None,
    every: EveryOption = 2,
    once: OnceOption = False,
    json: JsonOption = False,
) -> None:
    """Watch all machines at once: GPUs, slices, models in memory, requests, alarms.

    Asks over one SSH connection per machine, at the cost of at most 1 % of its CPUs. Keys: arrows and
    pages scroll, `w` puts the worst first, `q` or Ctrl-C ends. `--once` looks twice within about two
    seconds, since shares of CPU time are a difference, and shows what it saw then. Exit code 1 when a
    machine cannot be asked; the others are shown.

    JSON (of one frame): version, inventory, at, reached, alarms (host, subject, check, severity, words),
    machines (name, roles, error, age_s, system, gpus, slices, pools, cost; docs/top.md names all keys).
    What nobody could tell is null.
    """
    with answering(json):
        from ollama_fleet.host.connected import connected

        live = not once and not json and sys.stdin.isatty() and sys.stdout.isatty()
        with connected(inventory.with_suffix(".yml"), host or ()) as fleet:
            reached = (
                _live(fleet, inventory, every) if live else _one(fleet, inventory, every, json)
            )
    if not reached:
        raise typer.Exit(FAILED)


def _one(fleet: "Connected", inventory: Path, every_s: float, as_json: bool) -> bool:
    from ollama_fleet.host.watching import look, watched
    from ollama_fleet.top.document import document
    from ollama_fleet.top.gather import fleet_now

    machines = watched(fleet, every_s)
    look(fleet, machines)
    now = fleet_now(inventory.name, utc(), machines, time.monotonic())
    if as_json:
        print_json(document(now))
    else:
        from ollama_fleet.report.console import console
        from ollama_fleet.top.screen import lines_of

        out = console()
        for line in lines_of(now, out.width):
            out.print(line, no_wrap=True, overflow="crop", crop=True)
    return now.reached


def _live(fleet: "Connected", inventory: Path, every_s: float) -> bool:
    from ollama_fleet.cli.live import show
    from ollama_fleet.host.watching import Following, watched
    from ollama_fleet.top.gather import fleet_now

    machines = watched(fleet, every_s)
    following = Following(fleet, machines, lambda: None)
    try:
        show(lambda: fleet_now(inventory.name, utc(), machines, time.monotonic()))
    finally:
        following.end()
    return True


def utc() -> str:
    """Now, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
