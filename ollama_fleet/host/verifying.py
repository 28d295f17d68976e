"""A whole fleet verified: every machine asked over its own connection, judged here, nothing changed."""

import ollama_fleet.host.connected as over_ssh

# isort: split

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ollama_fleet.checks.machine import (
    Machine,
    answering_s,
    first_questions,
    found,
    last_questions,
)
from ollama_fleet.checks.outcome import Mode, Outcome
from ollama_fleet.questions import Answers

Round = Callable[[Machine, Mode], dict[str, str]]


def verify(
    inventory: Path, hosts: Sequence[str], mode: Mode, say: Callable[[str], None]
) -> Outcome:
    """Ask the machines of an inventory (all, or those named) and judge them.

    One exec for each machine, and another one where it runs the gateway. Raises InputError.
    """
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    say(f"connecting to the machines of {inventory}")
    with over_ssh.connected(inventory, hosts) as fleet:
        present = {name: one for name, one in fleet.machines.items() if one.roles}
        say(f"asking {len(present)} machines")
        first = _ask(fleet, present, mode, first_questions)
        late = {name: one for name, one in present.items() if last_questions(one, mode)}
        if late:
            say(f"asking {len(late)} gateways and monitors")
        last = _ask(fleet, late, mode, last_questions)
    outcomes = (
        found(machine, mode, first[name], last.get(name, {})) for name, machine in present.items()
    )
    seconds = time.monotonic() - began
    return Outcome(str(inventory), started, seconds, mode, tuple(outcomes))


def _ask(
    fleet: over_ssh.Connected, machines: dict[str, Machine], mode: Mode, asked: Round
) -> dict[str, Answers | str]:
    """Who could not be reached at the start is not tried again."""
    reached = {name: one for name, one in machines.items() if name not in fleet.unreached}
    times = {name: answering_s(one, mode) for name, one in reached.items()}
    answers = fleet.ask({name: asked(one, mode) for name, one in reached.items()}, times)
    return {**{name: fleet.unreached.get(name, "") for name in machines}, **answers}
