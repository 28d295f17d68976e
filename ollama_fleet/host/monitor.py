"""A monitor on its machine: Prometheus in force with its targets and rules, and the proof of it."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.state import StateStage

from ollama_fleet.checks import own_machine
from ollama_fleet.checks.monitor import monitor_questions, monitor_results
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.host import certificates
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.own_machine import with_own
from ollama_fleet.host.services import in_force, made_ready
from ollama_fleet.host.verification import conclude
from ollama_fleet.monitor import door, leftovers, prepare, services
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.services import ready
from ollama_fleet.services.service import service_steps


def asked(monitor: MonitorPlan) -> dict[str, str]:
    """What to ask a monitor's machine."""
    return {
        **ready.root_questions("monitor"),
        **ready.questions(prepare.part_of(monitor)),
        **door.questions(monitor),
        **services.questions(monitor),
    }


@operation()
def monitor_ready(monitor: MonitorPlan) -> Generator[Any, None, None]:
    """
    Ensure a machine has what a monitor needs: packages, account, folders.

    + monitor: what it is to be

    **Example:**

    .. code:: python

        monitor_ready(name="Install what the monitor needs", monitor=monitor)
    """
    later = [certificates.monitor_asked(monitor)]
    yield from made_ready(prepare.part_of(monitor), asked(monitor), monitor.environment, later)


@operation()
def monitor_runs(monitor: MonitorPlan) -> Generator[Any, None, None]:
    """
    Ensure Prometheus looks at every machine of the fleet, and knows what is wrong when.

    New targets and rules are reloaded; what it has seen stays.

    + monitor: what it is to be

    **Example:**

    .. code:: python

        monitor_runs(name="Run Prometheus", monitor=monitor)
    """
    wanted = asked(monitor)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    wished, common = services.services_of(monitor), services.common_files()
    steps = service_steps(wished, common, services.found_of(monitor, answers))
    told = f"monitor {monitor.name} looks at {len(monitor.targets)} machines"
    yield from in_force([*steps, *door.leftover_steps(answers)], told)


@operation()
def monitor_proved(monitor: MonitorPlan) -> Generator[Any, None, None]:
    """
    Fail the machine unless its monitor is what it should be and sees every machine; no change when it
    does.

    + monitor: what it is to be

    **Example:**

    .. code:: python

        monitor_proved(name="Verify the monitor", monitor=monitor)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("verified when the deploy has run")
        return
    wanted = with_own(monitor, monitor_questions(monitor))
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    results = [*monitor_results(monitor, answers), *own_machine.results(monitor, answers)]
    yield from conclude(HostOutcome(monitor.host, ("monitor",), tuple(results)))


@operation()
def monitor_left(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure that a host without a monitor has nothing of one.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        monitor_left(name="Take away what a monitor has left", plan=plan)
    """
    wanted = leftovers.questions(plan)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
    else:
        yield from in_force(leftovers.leftover_steps(answers), "nothing of a monitor is left")
