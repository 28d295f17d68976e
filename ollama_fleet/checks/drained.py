"""Slices that an operator has taken out of service: worth knowing, and no fault."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.rollout.marks import MARKS, marks_question, read_marks


def _questions(plan: HostPlan) -> dict[str, str]:
    return marks_question() if plan.hop else {}


def _drained(subject: Subject) -> Iterator[CheckResult]:
    if MARKS not in subject.answers:
        return
    for name, mark in read_marks(subject.answers).items():
        where = f"{subject.plan.host}.{name}"
        yield subject.result(
            name,
            "in service",
            good=False,
            expected="gateways use it",
            found=f"{where} is {mark}",
            remedy=f"when it may serve again: `fleet undrain INVENTORY {where}`",
            warns=True,
        )


CHECK = Check("in service", _drained, _questions)
