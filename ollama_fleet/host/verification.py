"""Verification as an operation: a healthy host shows no change, a failed check fails the host."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.host.answers import HostAnswers, no_answer, recall
from ollama_fleet.host.results import record
from ollama_fleet.host.scripts import fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer

# What is installed and loaded changes only when somebody changes it; a run that did asks again.
LASTING = ("driver", "uvm", "minors", "containers packages")


def failure_lines(result: CheckResult) -> list[str]:
    """A check that is not well in words: where, what was expected and found, what to do."""
    said = "failed" if result.failed else "is worth a look"
    return [
        f"{result.host} {result.subject}: {result.check} {said}",
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
    known = recall({name: text for name, text in asked.items() if name.startswith(LASTING)})
    unknown = {name: text for name, text in asked.items() if name not in known}
    fresh: dict[str, Answer] = host.get_fact(HostAnswers, questions=unknown)
    answers = known | fresh
    if not asked.keys() <= answers.keys():
        yield no_answer()
        return
    yield from conclude(judge(plan, answers))


def conclude(results: list[CheckResult]) -> Generator[Any, None, None]:
    """Note results, say warnings, and fail the host when anything failed."""
    record(results)
    for result in results:
        if result.status == "warning":
            host.log_styled("\n".join(failure_lines(result)), fg="yellow")
    failed = [line for result in results if result.failed for line in failure_lines(result)]
    if failed:
        yield FunctionCommand(fail_host, (failed,), {})
    else:
        host.noop(f"{len(results)} checks hold")
