"""Verification as an operation: a healthy host shows no change, a failed check fails the host."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.checks.examine import examine
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.host.answers import HostAnswers, no_answer, recall
from ollama_fleet.host.memory import was_changed
from ollama_fleet.host.results import record
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer
from ollama_fleet.report.closing import failure_lines
from ollama_fleet.selfcheck.files import KEEP, is_wanted, keeps_what_was_proved

# What is installed and loaded, and what lies in files, changes only when somebody changes it; a run that
# did asks again.
LASTING = (
    *("driver", "uvm", "minors", "containers packages", "containers.own"),
    *("owned.", "hop.", "firewall.", "gateway.", "watch.files"),
)


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
    found = examine(plan, answers)
    yield from conclude(found)
    holds = is_wanted(plan) and not any(result.failed for result in found.results)
    # What the host shows now is what was proved; its own look compares with it from here on.
    if holds and (was_changed(host) or not keeps_what_was_proved(answers)):
        yield Script(change_script([KEEP]))


def conclude(found: HostOutcome) -> Generator[Any, None, None]:
    """Note results, say warnings, and fail the host when anything failed."""
    record(found)
    results = found.results
    for result in results:
        if result.status == "warning":
            host.log_styled("\n".join(failure_lines(result)), fg="yellow")
    failed = [line for result in results if result.failed for line in failure_lines(result)]
    if failed:
        yield FunctionCommand(fail_host, (failed,), {})
    else:
        host.noop(f"{len(results)} checks hold")
