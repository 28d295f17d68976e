"""The NVIDIA driver of a host: one fact to judge it, one script to change it, and the proof."""

from collections.abc import Generator, Iterator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.state import StateStage

from ollama_fleet.driver.change import steps_of
from ollama_fleet.driver.decision import Decision, decide
from ollama_fleet.driver.state import State
from ollama_fleet.host.answers import no_answer
from ollama_fleet.host.driver_steps import asked, driver_state, problems, proof_commands
from ollama_fleet.host.reboot import after_boot, is_reboot, reboot_commands, served_slices
from ollama_fleet.host.rolling import InTurn, needs_no_turn, turns_of
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.rollout.script import name_of

__all__ = ["asked", "driver_installed", "driver_works", "problems"]

DRIVER = "driver"


@operation()
def driver_installed(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure a host has the NVIDIA driver that its GPUs and the inventory need, pinned, with modules for
    every installed kernel. A working driver that satisfies the inventory is left alone.

    An upgrade drains the slices, exchanges every package in one transaction and proves the new driver;
    a driver that does not work goes back to the version before.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        driver_installed(name="Install the NVIDIA driver", plan=plan)
    """
    state = driver_state(plan)
    if state is None:
        yield no_answer()
        return
    decision = decide(plan.provision.driver, state)
    for line in decision.notes:
        host.log_styled(line, fg="yellow")
    slices = [name_of(unit) for unit in served_slices(state)]
    if decision.changes and not decision.problems and slices and turns_of(plan):
        _say(decision)
        yield InTurn(plan, DRIVER, slices, lambda: _changed_and_proved(plan, state))
        return
    needs_no_turn(plan, DRIVER)
    if decision.problems:
        yield FunctionCommand(fail_host, (list(decision.problems),), {})
    elif decision.changes:
        _say(decision)
        yield _change(plan, state)
    else:
        host.noop("; ".join(decision.why))


def _change(plan: HostPlan, state: State) -> Script:
    steps = steps_of(decide(plan.provision.driver, state), plan, state)
    return Script(change_script(steps, plan.provision.environment))


def _changed_and_proved(plan: HostPlan, before: State) -> Iterator[PyinfraCommand]:
    """All in one turn: no other host begins while this one waits for its boot."""
    yield _change(plan, before)
    commands = list(reboot_commands(plan))
    yield from commands
    yield from after_boot(plan) if is_reboot(commands) else proof_commands(plan)


def _say(decision: Decision) -> None:
    what = f" {decision.target}" if decision.packages else ""
    host.log(f"driver{what}: {decision.action}, because {'; '.join(decision.why)}")


@operation()
def driver_works(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Fail the host unless the driver is now as it is asked for: loaded, whole, and showing every GPU.

    Says what is still wrong, and goes back to the driver before where a reboot brought a new one into use
    that does not work. Asks nothing on a host where nothing was changed.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        driver_works(name="Check the driver", plan=plan)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("judged when the driver is there")
        return
    yield from proof_commands(plan)
