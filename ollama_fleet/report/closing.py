"""What stands below the table: what is not well, in words, and which machines did not get to the end."""

from collections.abc import Iterator, Mapping
from typing import TextIO

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.console import console
from ollama_fleet.report.text import fit


def failure_lines(result: CheckResult) -> list[str]:
    """A check that is not well in words: where, what was expected and found, what to do."""
    said = "failed" if result.failed else "is worth a look"
    return [
        f"{result.host} {result.subject}: {result.check} {said}",
        f"  expected: {result.expected}",
        f"  found:    {result.found}",
        f"  do:       {result.remedy}",
    ]


def print_closing(outcome: Outcome, stream: TextIO) -> None:
    """Everything that is not well: warnings first, then what failed, then who gave no answer."""
    from rich.text import Text

    to = console(stream)
    for colour, line in _closing(outcome):
        to.print(Text(fit(line), style=colour), soft_wrap=True)


def _closing(outcome: Outcome) -> Iterator[tuple[str, str]]:
    warnings = [result for result in outcome.results if result.status == "warning"]
    failures = [result for result in outcome.results if result.failed]
    for colour, results in (("yellow", warnings), ("red", failures)):
        for result in results:
            yield from ((colour, line) for line in failure_lines(result))
    for host in outcome.hosts:
        if host.error:
            yield "red", f"{host.host}: {host.error}"


def print_failed(failed: Mapping[str, str], asked: int, stream: TextIO) -> None:
    """The end of a run in which machines failed: each with its step and its words."""
    from rich.text import Text

    to = console(stream)
    many = "machine" if asked == 1 else "machines"
    lines = [f"{len(failed)} of {asked} {many} failed:"]
    lines += [f"  {name}: {why}" for name, why in failed.items()]
    for line in lines:
        to.print(Text(fit(line), style="red"), soft_wrap=True)
