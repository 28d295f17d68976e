"""A verification as JUnit XML, which every CI shows: a suite for each machine, a case for each check.

A failed check is a failure with what was expected, what was found and what to do; a warning is a case
that passed and says so in its output; a machine that could not be asked is an error.
"""

from xml.etree import ElementTree as Xml

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import counts
from ollama_fleet.report.text import fit, one_line

REACHED = "reachable"


def junit_text(outcome: Outcome) -> str:
    """The file."""
    found = counts(outcome)
    root = Xml.Element(
        "testsuites",
        name=one_line(f"fleet verify {outcome.inventory}"),
        tests=str(found.checks + found.unreachable),
        failures=str(found.failed),
        errors=str(found.unreachable),
        time=_seconds(outcome.seconds),
    )
    for host in outcome.hosts:
        _suite(root, outcome, host)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, "unicode") + "\n"


def explained(result: CheckResult) -> str:
    """What was expected, what was found, what to do."""
    lines = (("expected", result.expected), ("found", result.found), ("do", result.remedy))
    return "\n".join(f"{name + ':':10}{fit(words)}" for name, words in lines if words)


def _suite(root: Xml.Element, outcome: Outcome, host: HostOutcome) -> None:
    suite = Xml.SubElement(
        root,
        "testsuite",
        name=one_line(host.host),
        tests=str(len(host.results) + bool(host.error)),
        failures=str(sum(result.failed for result in host.results)),
        errors=str(int(bool(host.error))),
        skipped="0",
        time="0",
        timestamp=outcome.started[:19],
        hostname=one_line(host.host),
    )
    if host.error:
        case = _case(suite, host.host, "host", REACHED)
        error = Xml.SubElement(case, "error", message=one_line(host.error), type="unreachable")
        error.text = fit(host.error)
    for result in host.results:
        _result(_case(suite, host.host, result.subject, result.check), result)


def _case(suite: Xml.Element, host: str, subject: str, name: str) -> Xml.Element:
    classname = one_line(f"{host}.{subject}")
    return Xml.SubElement(suite, "testcase", name=one_line(name), classname=classname, time="0")


def _result(case: Xml.Element, result: CheckResult) -> None:
    if result.failed:
        kind = kind_of(result.check).severity
        Xml.SubElement(case, "failure", message=one_line(result.found), type=kind).text = explained(
            result
        )
    elif result.status == "warning":
        Xml.SubElement(case, "system-out").text = "worth a look\n" + explained(result)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
