"""The rows of the page's results: what matters first; in a large fleet what is well is one row a machine."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import RANK
from ollama_fleet.report.fleet_picture import HostView, picture
from ollama_fleet.report.junit import REACHED

# With more results than this, what is well is told by its count: a page has to open.
MOST_ROWS = 3000
# Of the machines with a failure, so many are open from the start.
MOST_OPEN = 20
Words = tuple[tuple[bool, str], ...]


@dataclass(frozen=True)
class Row:
    """One result; `remedy` in pieces, (True, …) of which are commands."""

    status: Status
    subject: str
    check: str
    grade: str = ""
    expected: str = ""
    found: str = ""
    remedy: Words = ()


@dataclass(frozen=True)
class HostRows:
    """The results of one machine."""

    view: HostView
    rows: tuple[Row, ...]
    is_open: bool


def result_rows(outcome: Outcome) -> tuple[HostRows, ...]:
    """Machines in the order of the picture."""
    folded = sum(len(host.results) for host in outcome.hosts) > MOST_ROWS
    views = picture(outcome)
    return tuple(
        HostRows(
            view, tuple(_rows(view.outcome, folded)), number < MOST_OPEN and view.state != "ok"
        )
        for number, view in enumerate(views)
    )


def words_of(remedy: str) -> Words:
    """What stands between backticks is a command."""
    pieces = enumerate(remedy.split("`"))
    return tuple((number % 2 == 1, text) for number, text in pieces if text)


def _rows(host: HostOutcome, folded: bool) -> Iterator[Row]:
    if host.error:
        remedy = (
            (False, "see whether it is up: "),
            (True, f"ssh {quote(host.address or host.host)}"),
        )
        yield Row("failed", "host", REACHED, "critical", "it can be asked", host.error, remedy)
    place = {subject: n for n, subject in enumerate(dict.fromkeys(r.subject for r in host.results))}
    ordered = sorted(host.results, key=lambda r: (RANK[r.status], place[r.subject]))
    for result in ordered:
        if result.status != "ok" or not folded:
            yield _row(result)
    well = [result for result in host.results if result.status == "ok"]
    if folded and well:
        many = Counter(result.check for result in well)
        told = ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in many.items())
        yield Row("ok", "", f"{len(well)} well", "", "", told)


def _row(result: CheckResult) -> Row:
    kind = kind_of(result.check)
    return Row(
        result.status,
        result.subject,
        result.check,
        kind.severity if result.failed else "",
        "" if result.status == "ok" else result.expected,
        result.found,
        words_of(result.remedy),
    )
