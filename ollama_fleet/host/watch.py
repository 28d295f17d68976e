"""The prober and the watchdog of a host: one question to compare them, one script to change them."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.planner.bind import CannotBindError
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.templating import HostFile
from ollama_fleet.watch_services import watch_questions, watch_steps


@operation()
def slices_watched(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure that a host watches its slices, and repairs them if it is to.

    + plan: what the host is to become; its GPUs are found when this executes

    **Example:**

    .. code:: python

        slices_watched(name="Watch the slices", plan=plan)
    """
    wanted = watch_questions(plan)
    answers = ask(wanted) if wanted else {}
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    try:
        steps = watch_steps(plan, answers)
    except CannotBindError as error:
        yield FunctionCommand(fail_host, (str(error).splitlines(),), {})
        return
    texts = [put_file(step) if isinstance(step, HostFile) else step for step in steps]
    if texts:
        yield Script(change_script(texts))
    else:
        host.noop(f"{len(plan.slices)} slices are watched")
