"""Container runtimes that can give GPUs to containers: a Docker engine if asked for, the toolkit."""

from collections.abc import Callable, Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

from ollama_fleet.containers import decision, protect
from ollama_fleet.containers import problems as judge
from ollama_fleet.containers.decision import Step
from ollama_fleet.containers.state import ContainerState, questions, read_state
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.templating import HostFile


def asked(plan: HostPlan) -> dict[str, str]:
    """Everything that the operations here ask, for preflight to ask ahead."""
    return {**protect.QUESTIONS, **questions(plan)}


def problems(plan: HostPlan, answers: Answers) -> list[str]:
    """What keeps the toolkit from a host that gave these answers, each with what to do."""
    return judge.problems(plan, read_state(answers)) if questions(plan) else []


@operation()
def containers_protected() -> Generator[Any, None, None]:
    """
    Ensure that running containers keep their GPUs when systemd is reloaded, as later steps do.

    **Example:**

    .. code:: python

        containers_protected(name="Keep the GPUs of running containers")
    """
    answers = ask(protect.QUESTIONS)
    if not protect.QUESTIONS.keys() <= answers.keys():
        yield no_answer()
    elif protect.unknown(answers):
        yield Script(change_script([protect.protect_step()]))
    else:
        host.noop("no container has a GPU that systemd does not know of")


@operation()
def container_runtime_ready(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure the container runtime that the inventory asks for, from the host's own package sources.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        container_runtime_ready(name="Install Docker", plan=plan)
    """
    yield from _converge(plan, decision.docker_steps, "no container runtime is to be installed")


@operation()
def container_toolkit_ready(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure that every container runtime of a host can give GPUs to its containers: one version of the
    toolkit, the runtimes' configuration, the CDI specification.

    Running containers go on: a daemon restarts only where that stops none.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        container_toolkit_ready(name="Give GPUs to containers", plan=plan)
    """
    yield from _converge(plan, decision.steps, "containers are as planned")


def _converge(
    plan: HostPlan, steps: Callable[[HostPlan, ContainerState], list[Step]], nothing: str
) -> Generator[Any, None, None]:
    """One exec to look, one script for the `steps`, or `nothing` in words."""
    wanted = questions(plan)
    if not wanted:
        host.noop("containers are none of our business here")
        return
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    state = read_state(answers)
    if wrong := judge.problems(plan, state):
        yield FunctionCommand(fail_host, (wrong,), {})
    elif parts := steps(plan, state):
        for line in judge.advice(plan, state):
            host.log_styled(line, fg="yellow")
        yield Script(change_script([_shell(part) for part in parts]))
    else:
        host.noop(nothing)


def _shell(part: Step) -> str:
    return put_file(part) if isinstance(part, HostFile) else part
