"""Each machine of an inventory is what it should be; conftest.py says how to run it on a fleet of yours."""

import warnings
from collections.abc import Iterable

import pytest

from ollama_fleet.checks.foreseen import Foreseen, foreseen
from ollama_fleet.checks.machine import Machine
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.report.text import one_line
from tests.verify.conftest import mode_of

Outcomes = dict[str, HostOutcome]


class WorthALook(UserWarning):
    """Something that has not failed, and wants to be known."""


def results_of(outcome: HostOutcome, expected: Foreseen) -> list[CheckResult]:
    """The results that a test stands for: of a check there may be several, one for each thing wrong.

    What holds for the whole host is said of the host; what does not, of the slice that it is about.
    """
    subject = _subject(outcome, expected.subject)
    found = [one for one in outcome.results if one.check == expected.check]
    of_it = [one for one in found if one.subject == subject]
    return of_it if of_it or subject != "host" else found


def _subject(outcome: HostOutcome, subject: str) -> str:
    """GPUs are counted in the plan, and have their addresses in results."""
    kind, _, position = subject.partition(" ")
    if kind != "gpu" or not position.isdigit():
        return subject
    found = sorted({one.subject for one in outcome.results if one.subject.startswith("gpu ")})
    return found[int(position)] if int(position) < len(found) else subject


def words(result: CheckResult) -> str:
    """A result as a person reads it in CI's log."""
    lines = [f"{result.host} {result.subject}: {result.check}"]
    lines += [f"  {name + ':':9} {one_line(text)}" for name, text in _parts(result) if text]
    return "\n".join(lines)


def _parts(result: CheckResult) -> tuple[tuple[str, str], ...]:
    return ("expected", result.expected), ("found", result.found), ("do", result.remedy)


def judge(results: Iterable[CheckResult]) -> None:
    """Fail with what failed; a warning is pytest's."""
    failures = [words(one) for one in results if one.failed]
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)
    for one in results:
        if one.status == "warning":
            warnings.warn(WorthALook(words(one)), stacklevel=2)


def reached(outcome: HostOutcome) -> HostOutcome:
    """The same; a machine that gave no answer fails all of its tests."""
    if outcome.error:
        pytest.fail(f"{outcome.host}: {one_line(outcome.error)}", pytrace=False)
    return outcome


def test_check(expected: Foreseen, outcomes: Outcomes) -> None:
    outcome = reached(outcomes[expected.machine])
    results = results_of(outcome, expected)
    broken = [one for one in outcome.results if one.check == "plan"]
    if results or broken:
        judge(results or broken)
    else:
        pytest.skip("has no result on this machine")


def test_all_else(machine: Machine, outcomes: Outcomes, request: pytest.FixtureRequest) -> None:
    """What the plan could not foresee: GPUs that it does not name, runtimes, what nobody asked for."""
    outcome = reached(outcomes[machine.name])
    named = [
        result
        for expected in foreseen(machine, mode_of(request.config))
        for result in results_of(outcome, expected)
    ]
    judge([one for one in outcome.results if one not in named])
