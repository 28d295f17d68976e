"""All downloads of a host, started at once and first of all: they run beside what else takes long."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.host import models, release
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script
from ollama_fleet.planner.plan import HostPlan


@operation()
def downloads_started(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Start whatever a host has to download, as units of the host that outlive this run; later steps
    wait for what they need.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        downloads_started(name="Start the downloads", plan=plan)
    """
    questions = {**models.asked(plan), **release.asked(plan)}
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    steps = []
    archive = release.start_release(plan, release.read_state(answers))
    if archive:
        steps.append(archive)
    state = models.read_store(plan, answers)
    if state:
        steps.append(models.start_models(plan, state))
    if steps:
        yield Script(change_script(steps))
    else:
        host.noop("nothing has to be downloaded")
