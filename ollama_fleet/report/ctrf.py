"""A verification as CTRF (Common Test Report Format, ctrf.io): JSON that CI actions and chat bots read."""

import json
from datetime import datetime
from typing import Any

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import counts
from ollama_fleet.report.junit import REACHED, explained
from ollama_fleet.report.text import fit, one_line

SPEC_VERSION = "0.0.0"
# A warning fails nobody; CTRF has no status for it, so it is a label.
STATUSES: dict[Status, str] = {"ok": "passed", "warning": "passed", "failed": "failed"}


def ctrf_text(outcome: Outcome) -> str:
    """The file; times in ms since 1970, as the format wants them."""
    found = counts(outcome)
    start = _start_ms(outcome.started)
    failed = found.failed + found.unreachable
    summary = {
        "tests": found.checks + found.unreachable,
        "passed": found.ok + found.warnings,
        "failed": failed,
        "pending": 0,
        "skipped": 0,
        "other": 0,
        "suites": found.hosts,
        "start": start,
        "stop": start + round(outcome.seconds * 1000),
    }
    document = {
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "generatedBy": "fleet verify",
        "results": {
            "tool": {"name": "ollama-fleet"},
            "summary": summary,
            "tests": [test for host in outcome.hosts for test in _tests(host)],
            "environment": {"testEnvironment": fit(outcome.inventory)},
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tests(host: HostOutcome) -> list[dict[str, Any]]:
    tests = [_test(result) for result in host.results]
    if host.error:
        name = one_line(f"{host.host} host: {REACHED}")
        error = {"status": "failed", "message": one_line(host.error), "trace": fit(host.error)}
        tests.insert(0, {"name": name, "duration": 0, "suite": [one_line(host.host)], **error})
    return tests


def _test(result: CheckResult) -> dict[str, Any]:
    kind = kind_of(result.check)
    test: dict[str, Any] = {
        "name": one_line(f"{result.host} {result.subject}: {result.check}"),
        "status": STATUSES[result.status],
        "duration": 0,
        "testId": one_line(f"{result.host}/{result.subject}/{result.check}"),
        "suite": [one_line(result.host), one_line(result.subject)],
        "tags": [kind.severity, kind.step],
        "extra": {"severity": kind.severity, "step": kind.step, "status": result.status},
    }
    if result.status != "ok":
        test |= {"message": one_line(result.found), "trace": explained(result)}
    return test


def _start_ms(started: str) -> int:
    return round(datetime.fromisoformat(started).timestamp() * 1000)
