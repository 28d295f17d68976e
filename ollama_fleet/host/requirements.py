"""The first operation of every deploy: a host that can take the plan, or the reasons why not."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage
from pyinfra.operations import apt, dnf

from ollama_fleet.host.answers import HostAnswers, no_answer
from ollama_fleet.host.scripts import fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.preflight import NEEDED_COMMANDS, QUESTIONS, advice, problems, read_facts


@operation()
def requirements_met(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Fail the host, before anything is changed on it, unless it can take the plan; then make sure of
    the few commands that the later steps use.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        requirements_met(name="Check the host", plan=plan)
    """
    asked = QUESTIONS
    answers = host.get_fact(HostAnswers, questions=asked)
    if not asked.keys() <= answers.keys():
        yield no_answer()
        return
    facts = read_facts(answers)
    wrong = problems(plan, facts)
    for line in advice(plan, facts):
        host.log_styled(line, fg="yellow")
    if wrong and host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, wrong)  # says it now: a dry run never gets to the failing
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
    elif facts.missing_commands:
        packages = [NEEDED_COMMANDS[name] for name in facts.missing_commands]
        if facts.package_family == "apt":
            yield from apt.packages._inner(packages=packages, update=True)
        else:
            yield from dnf.packages._inner(packages=packages)
    else:
        host.noop("the host is ready")
