"""How an outcome is counted, and what changed since the one before: the same words in every report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.outcome import HostOutcome, Outcome

# Of a machine, a GPU or a slice.
State = Literal["ok", "warning", "failed", "unreachable", "lost", "drained"]
RANK: dict[Status, int] = {"failed": 0, "warning": 1, "ok": 2}

# Runs that are looked at for how a check was before.
LOOKED_BACK = 5
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Counts:
    """Machines and results of one run; `hosts_failed` were reached and have a failed check."""

    hosts: int
    hosts_failed: int
    unreachable: int
    checks: int
    ok: int
    warnings: int
    failed: int


@dataclass(frozen=True)
class Change:
    """Checks of one subject that went from one status to another; `before` is None where the run before
    had none of them. `found` is what the first of them found."""

    host: str
    subject: str
    before: Status | None
    now: Status
    checks: tuple[str, ...]
    found: str


def counts(outcome: Outcome) -> Counts:
    """Counts over all machines."""
    found = Counter(result.status for result in outcome.results)
    return Counts(
        hosts=len(outcome.hosts),
        hosts_failed=sum(host.failed and not host.error for host in outcome.hosts),
        unreachable=sum(bool(host.error) for host in outcome.hosts),
        checks=found.total(),
        ok=found["ok"],
        warnings=found["warning"],
        failed=found["failed"],
    )


def verdict(outcome: Outcome) -> str:
    """`well`, or what is not: `2 checks failed, 1 machine not verified`."""
    found = counts(outcome)
    parts = [_many(found.failed, "check") + " failed"] if found.failed else []
    parts += [_many(found.unreachable, "machine") + " not verified"] if found.unreachable else []
    return ", ".join(parts) or "well"


def changes(outcome: Outcome, history: Sequence[Outcome]) -> list[Change]:
    """What got worse, then what got better; a check that is new and well is no news.

    Compared with what the last runs say: the one before may have been of some machines only, or quick.
    """
    if not history:
        return []
    was, now = dict[Key, CheckResult](), _by_check(outcome)
    for run in history[-LOOKED_BACK:]:
        was |= _by_check(run)
    grouped: dict[tuple[str, str, Status | None, Status], list[CheckResult]] = {}
    for key, result in now.items():
        then = was[key].status if key in was else None
        if then != result.status and not (then is None and result.status == "ok"):
            where = (result.host, result.subject, then, result.status)
            grouped.setdefault(where, []).append(result)
    found = [
        Change(*where, tuple(result.check for result in results), results[0].found)
        for where, results in grouped.items()
    ]
    return sorted(found, key=lambda change: RANK[change.now])


def _by_check(outcome: Outcome) -> dict[Key, CheckResult]:
    """What makes it the same check in two runs, to its result: the worst where there are several."""
    found: dict[Key, CheckResult] = {}
    for result in outcome.results:
        key = (result.host, result.subject, result.check)
        if key not in found or RANK[result.status] < RANK[found[key].status]:
            found[key] = result
    return found


def worst(results: Iterable[CheckResult]) -> Status:
    """The worst status of these."""
    return min((result.status for result in results), key=RANK.__getitem__, default="ok")


def state_of(host: HostOutcome) -> State:
    """The worst of it; `unreachable` where it could not be asked."""
    return "unreachable" if host.error else worst(host.results)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
