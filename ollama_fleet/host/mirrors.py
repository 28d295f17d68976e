"""A mirror on its machine: nginx with one server of ours, in force, and the proof of it."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.checks import own_machine
from ollama_fleet.checks.mirror import judge_mirror
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.own_machine import with_own
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.host.verification import conclude
from ollama_fleet.mirrors.change import change_steps, problems
from ollama_fleet.mirrors.state import questions, read_state
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.templating import HostFile


@operation()
def mirror_serves(mirror: MirrorPlan) -> Generator[Any, None, None]:
    """
    Ensure that this machine serves as a mirror, by one server of its own in the distribution's nginx.

    Other sites of that nginx stay as they are and are not interrupted.

    + mirror: what it is to be

    **Example:**

    .. code:: python

        mirror_serves(name="Run the mirror", mirror=mirror)
    """
    wanted = with_own(mirror, questions(mirror))  # where nothing is to do, the proof asks no more
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    state = read_state(answers)
    wrong = problems(mirror, state)
    if wrong and host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, wrong)  # says it now: a dry run never gets to the failing
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
    elif steps := change_steps(mirror, state):
        parts = [put_file(step) if isinstance(step, HostFile) else step for step in steps]
        yield Script(change_script(parts, mirror.environment))
    else:
        host.noop(f"mirror {mirror.name} serves")


@operation()
def mirror_proved(mirror: MirrorPlan) -> Generator[Any, None, None]:
    """
    Fail the machine unless its mirror is what it should be; no change when it is.

    + mirror: what it is to be

    **Example:**

    .. code:: python

        mirror_proved(name="Verify the mirror", mirror=mirror)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("verified when the deploy has run")
        return
    wanted = with_own(mirror, questions(mirror))
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    results = [*judge_mirror(mirror, read_state(answers)), *own_machine.results(mirror, answers)]
    yield from conclude(HostOutcome(mirror.host, ("mirror",), tuple(results)))
