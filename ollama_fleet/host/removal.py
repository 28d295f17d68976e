"""Everything of ours off a host: one question, one script, and one more look to prove it."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

from ollama_fleet.claim import CLAIM_QUESTION, read_claim
from ollama_fleet.containers import protect
from ollama_fleet.host import claims
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan, Removal
from ollama_fleet.preflight import NOT_ROOT
from ollama_fleet.questions import Answers
from ollama_fleet.removal.found import read_found, will_go, will_stay
from ollama_fleet.removal.questions import questions
from ollama_fleet.removal.steps import removal_steps


def asked(plan: HostPlan) -> dict[str, str]:
    """All that is asked of a host that is to be absent."""
    return {**CLAIM_QUESTION, **protect.QUESTIONS, **questions(plan.store.path)}


@operation()
def everything_removed(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure that nothing of ours is on a host: no unit, file, account, release. Slices end their requests
    first. Driver, container toolkit and GPU layout stay; the model store as well, unless the plan says
    otherwise. What somebody else put into our folders stays, and is said.

    + plan: what is to go, as its `removal`

    **Example:**

    .. code:: python

        everything_removed(name="Remove everything of ours", plan=plan)
    """
    removal = plan.removal or Removal()
    wanted = asked(plan)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    if problems := _problems(answers):
        yield FunctionCommand(fail_host, (problems,), {})
        return
    found = read_found(answers)
    if not found.anything(removal):
        host.noop("nothing of ours is here")
        return
    for line in will_go(found, removal):
        host.log(line)
    known = protect.unknown(answers)
    steps = removal_steps(found, removal, plan.provision.drain_timeout_s)
    yield Script(change_script([*([protect.protect_step()] if known else []), *steps]))
    for line in will_stay(found):
        host.log_styled(line, fg="yellow")
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
    elif (left := read_found(answers)).anything(removal):
        words = ["not everything of ours went; run again, or look at:", *will_go(left, removal)]
        yield FunctionCommand(fail_host, (words,), {})


def _problems(answers: Answers) -> list[str]:
    """What keeps this run from changing the host."""
    if answers["removal.user"].text.strip() != "0":
        return [NOT_ROOT]
    return claims.taken(read_claim(answers))
