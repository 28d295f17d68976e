"""What of a gateway's or a monitor's machine differs from the plan beside what runs: files by name,
drop-ins of others, units that run with an older text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ollama_fleet.checks.compared import Compared, edited, stamp
from ollama_fleet.checks.files import HAND, of_services
from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.seen_units import SHOW, question, read_seen
from ollama_fleet.checks.unit_files import Finding, drop_in_findings, trouble_findings
from ollama_fleet.checks.wording import listed
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Found, Service
from ollama_fleet.templating import HostFile


@dataclass(frozen=True)
class Drifting:
    """What may drift on the machine `host`: services, and `files` that are none's. Results are about
    `subject`."""

    host: str
    subject: str
    services: Sequence[Service]
    files: Sequence[HostFile]

    @property
    def asked(self) -> str:
        """Name of the question about units; a machine may be a gateway and a monitor."""
        return f"drift.{self.subject.split(' ')[0]}-units"


def questions(of: Drifting) -> dict[str, str]:
    """What to ask beside what proves the services."""
    units = " ".join(service.unit for service in of.services)
    return {of.asked: question(f"{SHOW} {units}")}


def judge(of: Drifting, found: Found, answers: Answers) -> Iterator[CheckResult]:
    """Results about files and units."""
    yield _files(of, found)
    if of.asked not in answers:
        return
    seen = read_seen(answers[of.asked].text)
    units = [(of.subject, unit) for unit in seen.units.values()]
    for one in drop_in_findings(units, seen, of.subject):
        yield _result(of, "drop-ins", _status(one), one.expected, one.found, one.remedy)
    for one in trouble_findings(units, seen, of.subject, seen.units):
        yield _result(of, "in force", _status(one), one.expected, one.found, one.remedy)


def _status(finding: Finding) -> Status:
    return "ok" if finding.good else "warning" if finding.warns else "failed"


def _files(of: Drifting, found: Found) -> CheckResult:
    files = list(of_services(of.services, found))
    files += [Compared(file.path, found.files.get(file.path), stamp(file)) for file in of.files]
    wrong = edited(files)
    told = listed(wrong) if wrong else f"{len(files)} files are as planned"
    return _result(of, "files", "failed" if wrong else "ok", "as planned", told, HAND)


def _result(
    of: Drifting, check: str, status: Status, expected: str, found: str, remedy: str
) -> CheckResult:
    said = "" if status == "ok" else remedy
    return CheckResult(of.host, of.subject, check, status, expected, found, said)
