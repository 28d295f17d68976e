"""GPUs cut and set as planned: asked once, changed by the very script that runs at boot."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.containers.cdi import refresh_step
from ollama_fleet.gpu_settings import read_settings, setting_problems, settings_questions
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, read_hardware
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.rolling import InTurn, needs_no_turn, turns_of
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.mig.decision import Change, decide
from ollama_fleet.mig.found import (
    NO_USE,
    handed_questions,
    read_handed,
    read_use,
    use_questions,
)
from ollama_fleet.mig.problems import mig_problems, mig_questions
from ollama_fleet.mig.script import change_steps, keep_previous
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.render import gpu_files
from ollama_fleet.rollout.script import name_of
from ollama_fleet.templating import MARKER, HostFile


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about its GPUs; preflight asks it ahead."""
    return {
        **HARDWARE_QUESTIONS,
        **mig_questions(plan),
        **handed_questions(plan),
        **settings_questions(plan),
    }


def problems(plan: HostPlan, answers: Answers) -> list[str]:
    """What keeps the layout and the settings of a plan from a host whose driver runs."""
    hardware = read_hardware(answers)
    settings = read_settings(answers, hardware)
    try:
        bound = bind(plan, hardware)
    except CannotBindError:  # said by whoever binds
        bound = ()
    return [
        *mig_problems(plan, hardware, answers),
        *setting_problems(plan, bound, hardware, settings),
    ]


@operation()
def gpus_partitioned(plan: HostPlan, after_reboot: bool = False) -> Generator[Any, None, None]:
    """
    Ensure that a host's GPUs are cut into the planned MIG instances and have the planned settings.

    One exec to look, and nothing else where all is right. Slices of ours on a GPU that has to be cut
    anew are drained, and start again with the planned units. A GPU that something else uses is left
    alone, and the host fails. When a change does not come out as planned it is taken back.

    + plan: what the host is to become
    + after_reboot: only what a reboot in this run has left to do

    **Example:**

    .. code:: python

        gpus_partitioned(name="Cut the GPUs", plan=plan)
    """
    if after_reboot and host.state.current_stage == StateStage.Prepare:
        host.noop("judged when it is done")
        return
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    hardware = read_hardware(answers)
    if not hardware.gpus:
        host.noop("no GPU can be seen yet")
        return
    try:
        bound = bind(plan, hardware)
    except CannotBindError as error:
        yield FunctionCommand(fail_host, (str(error).splitlines(),), {})
        return
    refused = problems(plan, answers)
    settings, handed = read_settings(answers, hardware), read_handed(answers)
    change = decide(plan, bound, hardware, settings, NO_USE, handed)
    if change and not refused:
        use = ask(use_questions(MARKER))
        change = decide(plan, bound, hardware, settings, read_use(use, hardware), handed)
        refused = list(change.refused)
    step = "gpus again" if after_reboot else "gpus"
    away = [name_of(item.unit) for item in change.drain]
    if change and not refused and away and turns_of(plan):
        script = Script(_change_script(plan, change, gpu_files(plan, bound, hardware)))
        # The step of the slices starts them, when all GPUs are as planned.
        yield InTurn(plan, step, away, lambda: [script], comes_back=False)
        return
    needs_no_turn(plan, step)
    if refused:
        yield FunctionCommand(fail_host, (refused,), {})
    elif change:
        yield Script(_change_script(plan, change, gpu_files(plan, bound, hardware)))
    else:
        host.noop("the GPUs are as planned")


def _change_script(plan: HostPlan, change: Change, files: list[HostFile]) -> str:
    return change_script(
        [
            keep_previous(),
            *map(put_file, files),
            *change_steps(change, plan.provision.drain_timeout_s, plan.notice_s),
            refresh_step(),
        ]
    )
