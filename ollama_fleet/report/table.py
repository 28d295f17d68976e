"""Check results as a table in the terminal."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from ollama_fleet.checks.locks import differences
from ollama_fleet.checks.model import CheckResult

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def print_results(results: Sequence[CheckResult], stream: TextIO) -> None:
    """One line per host and subject, a mark per check, and what was found by those that matter; below
    it where hosts differ that should be alike."""
    console = Console(file=stream, width=None if stream.isatty() else 120)
    table = Table(title="Verification", title_justify="left", header_style="bold")
    for column in ("host", "what", "check", "", "found"):
        table.add_column(column, overflow="fold")
    previous: tuple[str, str] | None = None
    for result in sorted(results, key=lambda item: (item.host, _rank(item), item.subject)):
        here = (result.host, result.subject)
        mark = f"[{COLOURS[result.status]}]{result.status}[/]"
        shown = here if here != previous else ("", "")
        table.add_row(*shown, result.check, mark, _plain(result.found))
        previous = here
    console.print(table)
    for words in differences(results):
        console.print(f"[yellow]{_plain(words)}[/yellow]")
    failed = sum(result.failed for result in results)
    hosts = len({result.host for result in results})
    warnings = sum(result.status == "warning" for result in results)
    summary = f"{len(results)} checks on {hosts} hosts, {failed} failed"
    summary += f", {warnings} worth a look" if warnings else ""
    console.print(f"[red]{summary}[/red]" if failed else f"[green]{summary}[/green]")


def _rank(result: CheckResult) -> int:
    """Host first, then its GPUs, then its slices."""
    return 0 if result.subject == "host" else 1 if result.subject.startswith("gpu ") else 2


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))
