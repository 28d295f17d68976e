"""Can the host take the plan? Asked before anything is changed, and again when its driver is there."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage
from pyinfra.operations import apt, dnf

from ollama_fleet.claim import CLAIM_QUESTION, read_claim
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, read_hardware
from ollama_fleet.host import claims
from ollama_fleet.host.ahead import ahead, objections
from ollama_fleet.host.answers import ask, forget, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.preflight import (
    NEEDED_COMMANDS,
    HostFacts,
    advice,
    hardware_problems,
    problems,
    questions_for,
    read_facts,
)

# Claims the host, once a script that a dead run has left at work has ended, and nothing else.
CLAIM = change_script([":"])


def asked(plan: HostPlan) -> dict[str, str]:
    """What `requirements_met` asks by itself."""
    return {**CLAIM_QUESTION, **questions_for(plan)}


@operation()
def requirements_met(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Fail the host, before anything is changed on it, while another run changes it, or unless it can
    take the plan; then make sure of the few commands that the later steps use.

    Asks ahead what the later steps want to know: one exec for all of them.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        requirements_met(name="Check the host", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions, ahead=ahead(plan))
    if questions.keys() <= answers.keys():
        claim = read_claim(answers)
        if others := claims.taken(claim):
            yield FunctionCommand(fail_host, (others,), {})
            return
        if claims.left_at_work(claim):
            yield Script(CLAIM)
            answers = ask(questions, ahead=ahead(plan))
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    facts = read_facts(answers)
    # Two steps may hold the same against a host.
    later = objections(plan) if facts.is_root else []
    wrong = list(dict.fromkeys([*problems(plan, facts), *later]))
    for line in advice(plan, facts):
        host.log_styled(line, fg="yellow")
    if wrong and host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, wrong)  # says it now: a dry run never gets to the failing
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
    elif facts.missing_commands:
        yield from _commands_installed(plan, facts)
    else:
        host.noop("the host is ready")


# A list of somebody else's that apt rejects (a key that was replaced, say) must not keep the host from
# what the distribution's own have; the driver step puts such a list aside.
_LISTS = """apt-get -qq update -o Acquire::Retries=3 ||
    say "apt could not read all of the host's lists; going on with those that it could" """


def _commands_installed(plan: HostPlan, facts: HostFacts) -> Generator[Any, None, None]:
    packages = [NEEDED_COMMANDS[name] for name in facts.missing_commands]
    if facts.package_family == "apt":
        yield Script(change_script([_LISTS], plan.provision.environment))
        yield from apt.packages._inner(packages=packages)
    else:
        yield Script(CLAIM)
        yield from dnf.packages._inner(packages=packages)
    forget(host)


@operation()
def hardware_matches(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Fail the host unless its GPUs, with the driver that it has now, are those of the plan.

    Preflight said so already of a host whose driver served; nothing is asked again there.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        hardware_matches(name="Check the GPUs", plan=plan)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("judged when the driver is there")
        return
    answers = ask(HARDWARE_QUESTIONS)
    if not HARDWARE_QUESTIONS.keys() <= answers.keys():
        yield no_answer()
        return
    wrong = hardware_problems(plan, read_hardware(answers))
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
    else:
        host.noop("the GPUs are as planned")
