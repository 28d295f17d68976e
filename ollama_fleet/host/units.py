"""The files and units of a host: one fact to compare them, one script to change what differs."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

from ollama_fleet import owned
from ollama_fleet.convergence import STOCK_UNIT, FilesAndUnits, UnitState, compare
from ollama_fleet.draining import PENDING_DIR
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, read_hardware
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.converge import converge_script
from ollama_fleet.host.diffs import show_files
from ollama_fleet.host.rolling import rolling_questions, slices_changed, turns_of
from ollama_fleet.host.scripts import Script, fail_host
from ollama_fleet.mig.leftovers import LEFTOVER_QUESTION, leftovers
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, SCRUB_TIMER, USER, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.render import render_host
from ollama_fleet.selfcheck.places import TIMER as SELFCHECK_TIMER
from ollama_fleet.warm import STATE_PROPERTIES

UNIT_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload"),
    *STATE_PROPERTIES,  # for the warming, which asks the same question
)


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about our files and units."""
    warm = [item.warm_unit for item in plan.slices if item.preload]
    timers = (SCRUB_TIMER, SELFCHECK_TIMER)
    units = ("ollama.target", *timers, *(item.unit for item in plan.slices), *warm)
    paths = " ".join(path for path, _, _ in plan.directories)
    folders = "\n".join(
        f"{owner} {mode.lstrip('0')} {path}" for path, mode, owner in plan.directories
    )
    return {
        **HARDWARE_QUESTIONS,
        **owned.QUESTIONS,
        "units": f"systemctl show -p {','.join(UNIT_PROPERTIES)} "
        f"{' '.join((*units, DEVICES_UNIT, LOADER_UNIT, STOCK_UNIT))}",
        "pending": f"ls {PENDING_DIR} 2>/dev/null; true",
        "account": f"getent passwd {USER} >/dev/null && [ \"$(stat -c '%U %a %n' "
        f"{paths})\" = '{folders}' ]",
        **(rolling_questions(plan) if plan.hop else {}),
        **LEFTOVER_QUESTION,
    }


def read_found(answers: Answers) -> FilesAndUnits:
    """Answers to `asked` (but for the hardware)."""
    return FilesAndUnits(
        files=owned.read_files(answers["files"].lines),
        units=_units(answers["units"].text),
        interrupted=frozenset(answers["pending"].lines),
        has_account=answers["account"].code == 0,
        manifest=answers["manifest"].text and answers["manifest"].text.rstrip("\n") + "\n",
    )


def _units(text: str) -> dict[str, UnitState]:
    """Blocks of `Key=value` lines, one block per unit."""
    states = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            states[values["Id"]] = UnitState(
                values.get("LoadState", ""),
                values.get("ActiveState", ""),
                values.get("UnitFileState", ""),
                values.get("NeedDaemonReload") == "yes",
            )
    return states


@operation()
def units_converged(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure a host has exactly the planned slices: their units, running, and no others of ours.

    Only a slice whose own unit changed restarts; behind a gateway one after the other, in the host's turn.
    One exec to compare, one script to change.

    + plan: what the host is to become; its GPUs are found when this executes

    **Example:**

    .. code:: python

        units_converged(name="Run the slices", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    try:
        hardware = read_hardware(answers)
        bound = bind(plan, hardware)
    except CannotBindError as error:
        yield FunctionCommand(fail_host, (str(error).splitlines(),), {})
        return
    found, left = read_found(answers), leftovers(answers, bound)
    # Who was handed what is not its own starts anew, as if a run had not got so far.
    ours = owned.of_slices(plan, found.files)
    found = replace(found, files=ours, interrupted=found.interrupted | left.keys())
    wanted = render_host(plan, bound, hardware)
    wanted = owned.but_for_others(wanted, found.files, answers["command"].text)
    difference = compare(wanted, found)
    devices = plan.provision.driver.manage and any(
        gpu.persistence is False for gpu in hardware.gpus
    )
    if turns_of(plan):
        commands = slices_changed(plan, difference, bound, answers, devices, left)
    else:
        differs = difference or devices or left
        commands = [Script(converge_script(difference, devices, left))] if differs else []
    if commands:
        show_files(difference.write, difference.delete)
        yield from commands
    else:
        host.noop(f"{len(plan.slices)} slices are as planned")
