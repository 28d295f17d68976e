"""What this run found out: results of all hosts, shown as one table when the last check is done."""

import atexit
import sys

from ollama_fleet.checks.model import CheckResult

_results: list[CheckResult] = []


def record(results: list[CheckResult]) -> None:
    """Keep the results of one host; the first call sees to it that the table is shown at the end."""
    if not _results:
        atexit.register(_show)
    _results.extend(results)


def _show() -> None:
    from ollama_fleet.report.table import print_results

    print_results(_results, sys.stderr)
