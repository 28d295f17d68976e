"""Check results as a table in the terminal: a row for each that is not well, and what is well folded."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.locks import differences
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.report.text import one_line

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
# Their answers say the most where all is well; where none of them was asked, the checks are named.
TOLD = ("driver", "speed", "weights on gpu")
Line = tuple[str, str, str, str, str]


def print_results(results: Sequence[CheckResult], stream: TextIO, wide: bool = False) -> None:
    """A row for each result that is not well, one for all the others of a subject (`wide`: a row for
    every result), and below it where hosts differ that should be alike."""
    console = Console(file=stream, width=None if stream.isatty() else 120)
    table = Table(title="Verification", title_justify="left", header_style="bold")
    for column in ("host", "what", "check", "", "found"):
        table.add_column(column, overflow="fold")
    ordered = sorted(results, key=lambda item: (item.host, _rank(item), item.subject))
    previous = ("", "")
    for line in _every(ordered) if wide else _folded(ordered):
        here = line[:2]
        shown = line if here != previous else ("", "", *line[2:])
        table.add_row(*map(_plain, shown[:3]), _mark(line[3]), _plain(line[4]))
        previous = here
    console.print(table)
    for words in differences(results):
        console.print(f"[yellow]{_plain(words)}[/yellow]")
    _print_sum(console, results)


def _print_sum(console: Console, results: Sequence[CheckResult]) -> None:
    failed = sum(result.failed for result in results)
    hosts = len({result.host for result in results})
    warnings = sum(result.status == "warning" for result in results)
    summary = f"{_counted(len(results), 'check')} on {_counted(hosts, 'host')}, {failed} failed"
    summary += f", {warnings} worth a look" if warnings else ""
    console.print(f"[red]{summary}[/red]" if failed else f"[green]{summary}[/green]")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _every(results: Sequence[CheckResult]) -> Iterator[Line]:
    for result in results:
        yield _line(result)


def _folded(results: Sequence[CheckResult]) -> Iterator[Line]:
    """Subject by subject; GPUs of a host that are all well share one row."""
    subjects: dict[tuple[str, str], list[CheckResult]] = {}
    for result in results:
        subjects.setdefault((result.host, _subject(result)), []).append(result)
    for (host, subject), found in subjects.items():
        bad = [result for result in found if result.status != "ok"]
        yield from (_line(result) for result in sorted(bad, key=lambda result: not result.failed))
        well = [result for result in found if result.status == "ok"]
        if well:
            yield (host, _many(subject, well), _count(len(well)), "ok", _names(well))


def _subject(result: CheckResult) -> str:
    is_gpu = result.subject.startswith("gpu ") and result.status == "ok"
    return "gpu" if is_gpu else result.subject


def _many(subject: str, results: Sequence[CheckResult]) -> str:
    if subject != "gpu":
        return subject
    gpus = {result.subject for result in results}
    return f"{len(gpus)} gpus" if len(gpus) > 1 else gpus.pop()


def _count(number: int) -> str:
    return f"{number} check{'s' if number > 1 else ''}"


def _names(results: Sequence[CheckResult]) -> str:
    told = [result.found for result in results if result.check in TOLD]
    return "; ".join(told or dict.fromkeys(result.check for result in results))


def _line(result: CheckResult) -> Line:
    severity = f" ({kind_of(result.check).severity})" if result.failed else ""
    check = f"{result.check}{severity}"
    return (result.host, result.subject, check, result.status, result.found)


def _mark(status: str) -> str:
    return f"[{COLOURS[status]}]{status}[/]"


def _rank(result: CheckResult) -> int:
    """Host first, then its GPUs, then its slices."""
    return 0 if result.subject == "host" else 1 if result.subject.startswith("gpu ") else 2


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(one_line(text))
