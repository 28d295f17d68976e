"""A host that has no gateway any more keeps nothing of one."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.gateway.leftovers import leftover_steps, questions
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script
from ollama_fleet.planner.plan import HostPlan


@operation()
def leftovers_gone(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure that a host without a gateway has none of its keys and folders; logs stay.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        leftovers_gone(name="Take away what a gateway has left", plan=plan)
    """
    wanted = questions(plan)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
    elif steps := leftover_steps(plan, answers):
        yield Script(change_script(steps))
    else:
        host.noop("nothing of a gateway is left")
