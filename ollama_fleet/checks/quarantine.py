"""Slices that the watchdog has stopped because nothing that it may do has helped."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.watching.places import is_repaired
from ollama_fleet.watching.quarantine import questions, read_quarantined


def _questions(plan: HostPlan) -> dict[str, str]:
    return questions() if is_repaired(plan) else {}


def _quarantined(subject: Subject) -> Iterator[CheckResult]:
    for name, mark in read_quarantined(subject.answers).items():
        yield subject.result(
            name,
            "quarantine",
            good=False,
            expected="in service",
            found=f"out of service since {mark.since}: {mark.why}",
            remedy="it runs again, and is back in service as soon as it has answered from its GPU"
            if mark.is_running
            else f"see `journalctl OLLAMA_SLICE={name}` on the host and mend what it says, then "
            "deploy or reboot: it is started, and back in service when it has answered from its GPU",
            warns=mark.is_running,
        )


CHECK = Check("quarantine", _quarantined, _questions)
