"""Verification as an operation: a healthy host shows no change, a failed check fails the host."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.host.answers import HostAnswers, no_answer
from ollama_fleet.host.results import record
from ollama_fleet.host.scripts import fail_host
from ollama_fleet.planner.plan import HostPlan


def failure_lines(result: CheckResult) -> list[str]:
    """A failed check in words: where, what was expected, what was found, what to do."""
    return [
        f"{result.host} {result.subject}: {result.check} failed",
        f"  expected: {result.expected}",
        f"  found:    {result.found}",
        f"  do:       {result.remedy}",
    ]


@operation()
def checks_hold(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Fail the host unless every check holds; no change when they do.

    Asks once, with one real generation per slice. Before the deploy has run there is nothing to
    prove, and a dry run must not load models: then nothing is asked.

    + plan: what the host is to be

    **Example:**

    .. code:: python

        checks_hold(name="Verify", plan=plan)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("verified when the deploy has run")
        return
    asked = verification_questions(plan)
    answers = host.get_fact(HostAnswers, questions=asked)
    if not asked.keys() <= answers.keys():
        yield no_answer()
        return
    results = judge(plan, answers)
    record(results)
    failed = [line for result in results if result.failed for line in failure_lines(result)]
    if failed:
        yield FunctionCommand(fail_host, (failed,), {})
    else:
        host.noop(f"{len(results)} checks hold")
