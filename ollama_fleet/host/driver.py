"""The NVIDIA driver of a host: one fact to judge it, one script to change it, and the proof."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.driver.change import forget_before, steps_back, steps_of
from ollama_fleet.driver.decision import Decision, decide
from ollama_fleet.driver.questions import questions
from ollama_fleet.driver.state import State, read_state
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan


def asked(plan: HostPlan) -> dict[str, str]:
    """For preflight, which asks ahead."""
    return questions(plan.provision.driver)


def problems(plan: HostPlan, state: State) -> list[str]:
    """For preflight: what keeps the driver that is asked for from this host."""
    return list(decide(plan.provision.driver, state).problems)


def driver_state(plan: HostPlan) -> State | None:
    """The driver of the host that this operation runs on; None when it gave no answer."""
    wanted = asked(plan)
    answers = ask(wanted)
    return read_state(answers) if wanted.keys() <= answers.keys() else None


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
    if decision.problems:
        yield FunctionCommand(fail_host, (list(decision.problems),), {})
    elif decision.changes:
        _say(decision)
        steps = steps_of(decision, plan, state)
        yield Script(change_script(steps, plan.provision.environment))
    else:
        host.noop("; ".join(decision.why))


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
    state = driver_state(plan)
    if state is None:
        yield no_answer()
        return
    decision = decide(plan.provision.driver, state)
    # A driver that shows no GPU is loaded all the same, and no package would mend it: but the one before did.
    if decision.action == "leave" and (state.works or not state.kept):
        if state.kept:
            yield Script(change_script([forget_before()]))
        host.noop("; ".join(decision.why))
        return
    if state.kept:
        environment = plan.provision.environment
        yield Script(change_script(steps_back(plan, state), environment))
        return
    wrong = [*decision.problems, *(f"the driver is not ready: {why}" for why in decision.why)]
    yield FunctionCommand(fail_host, (wrong,), {})
