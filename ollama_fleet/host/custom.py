"""Custom models of a host: files of this machine are sent where they lack, then Ollama makes the models."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.custom_state import make_steps
from ollama_fleet.host import models
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script
from ollama_fleet.host.upload import Upload
from ollama_fleet.planner.plan import HostPlan


@operation()
def custom_models_made(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure every custom model of a plan is in the host's store as it is defined, and that no slice goes
    on with an earlier one. What they are made of, if it comes from elsewhere, is there by now.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        custom_models_made(name="Make custom models", plan=plan)
    """
    if not plan.custom:
        host.noop("no custom models")
        return
    questions = models.asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    state = models.read_store(plan, answers).custom
    files = {m.sha256: m for m in state.lacking if m.kind == "file" and m.sha256}
    for digest, model in files.items():
        yield Upload(model.name, Path(model.source), digest, plan.store.path)
    if state:
        yield Script(change_script(make_steps(plan, state)))
    else:
        host.noop(f"{len(plan.custom)} custom models are as defined")
