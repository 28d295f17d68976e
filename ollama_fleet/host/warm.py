"""Slices that have not loaded their models begin anew; each start of a slice does it by itself."""

import shlex
from collections.abc import Generator, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.checks.requests import documents, get_all
from ollama_fleet.host import units
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.questions import Answers, Slow
from ollama_fleet.warm import is_cold, read_memory, read_states

LOADED = "loaded"
UNITS = "units"
# Whoever does not tell at once what it holds is not asked twice: the proof at the end judges it.
PATIENCE_S = 3


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about the models that its slices have in memory."""
    warmed = [item for item in plan.slices if item.preload]
    if not warmed:
        return {}
    return {
        UNITS: units.asked(plan)[UNITS],
        # The servers take their time to answer; nothing else waits for it.
        LOADED: Slow(get_all((f"{item.url}/api/ps" for item in warmed), PATIENCE_S)),
    }


def cold_slices(plan: HostPlan, answers: Answers) -> list[SlicePlan]:
    """Slices that have to begin anew, by answers to `asked`."""
    states = read_states(answers[UNITS].text)
    told = documents(answers[LOADED].text)
    found = []
    for item in plan.slices:
        ps = told.get(f"{item.url}/api/ps")
        memory = read_memory(ps) if ps else None
        if is_cold(item, memory, states.get(item.warm_unit, {})):
            found.append(item)
    return found


def start_script(cold: Sequence[SlicePlan]) -> str:
    """Shell that has these slices load their models, and does not wait for it."""
    names = shlex.quote(", ".join(item.name for item in cold))
    warm_units = " ".join(item.warm_unit for item in cold)
    return change_script(
        [
            f"say 'loading the models of '{names}",
            f"systemctl reset-failed {warm_units} 2>/dev/null || :",
            f"systemctl start {warm_units} || fail 'systemctl status {warm_units} says why'",
        ]
    )


@operation()
def models_warm(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure every slice has its models in memory, or is loading them.

    Nothing is taken from a slice that serves another model, and nobody waits for a load: the
    verification does.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        models_warm(name="Load the models", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    cold = cold_slices(plan, answers) if questions else []
    if cold:
        yield Script(start_script(cold))
    else:
        host.noop("every slice has its models in memory, or loads them")
