"""The last runs on the page: a column for each with its counts, a row for each machine once not well."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import Counts, counts, state_of, verdict
from ollama_fleet.report.fleet_picture import SIGNS
from ollama_fleet.report.text import one_line

MOST_RUNS = 24
MOST_HOSTS = 60
HEIGHT = 44


@dataclass(frozen=True)
class RunView:
    """One run: heights of its bars, and all in words."""

    failed: float
    warnings: float
    words: str


@dataclass(frozen=True)
class Cell:
    """A machine in one run."""

    state: str
    sign: str
    words: str


@dataclass(frozen=True)
class HistoryView:
    """Runs from the oldest to this one; `well` machines have no row of their own, `more` no place."""

    runs: tuple[RunView, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    well: int
    more: int


def history_view(outcome: Outcome, history: Sequence[Outcome]) -> HistoryView:
    """Of the last runs."""
    runs = [*history, outcome][-MOST_RUNS:]
    tallies = [counts(run) for run in runs]
    most = max((_sum(tally) for tally in tallies), default=0) or 1
    by_name = [{host.host: host for host in run.hosts} for run in runs]
    rows = []
    for host in outcome.hosts:
        cells = tuple(
            _cell(there.get(host.host), run) for there, run in zip(by_name, runs, strict=True)
        )
        if any(cell.state not in ("ok", "none") for cell in cells):
            rows.append((one_line(host.host), cells))
    return HistoryView(
        tuple(_run(run, tally, most) for run, tally in zip(runs, tallies, strict=True)),
        tuple(rows[:MOST_HOSTS]),
        len(outcome.hosts) - len(rows),
        max(0, len(rows) - MOST_HOSTS),
    )


def moment(started: str) -> str:
    """`2026-11-28 06:00 UTC`."""
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return one_line(started)


def duration(seconds: float) -> str:
    """`2.3 s`, `1 min 20 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _sum(tally: Counts) -> int:
    return tally.failed + tally.unreachable + tally.warnings


def _run(run: Outcome, tally: Counts, most: int) -> RunView:
    scale = (HEIGHT - 2) / most
    bad = tally.failed + tally.unreachable
    words = f"{moment(run.started)}: {verdict(run)}"
    words += f", {tally.warnings} worth a look" if tally.warnings else ""
    return RunView(round(bad * scale, 1), round(tally.warnings * scale, 1), words)


def _cell(host: HostOutcome | None, run: Outcome) -> Cell:
    when = moment(run.started)
    if host is None:
        return Cell("none", "·", f"{when}: not in this run")
    state = state_of(host)
    return Cell(state, SIGNS[state], f"{when}: {'not verified' if host.error else state}")
