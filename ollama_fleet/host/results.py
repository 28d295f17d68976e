"""What this run found out of each machine: results of its checks, or why it did not get that far.

At the end of the run: the table of results, which machines failed at which step and why, and reports.
"""

from collections.abc import Sequence
from dataclasses import replace

from ollama_fleet.checks.outcome import HostOutcome

_seen: dict[str, HostOutcome] = {}
# By pyinfra's names: the last words of a step that failed, and why a machine is out of the run.
_words: dict[str, str] = {}
_failed: dict[str, str] = {}
LONGEST = 400


def record(outcome: HostOutcome) -> None:
    """Add what one part of a machine (its slices, its gateway, its mirror) was found to be."""
    before = _seen.get(outcome.host, HostOutcome(outcome.host, ()))
    whole = outcome if outcome.gpus or outcome.slices else before
    roles = dict.fromkeys((*before.roles, *outcome.roles))
    results = (*before.results, *outcome.results)
    _seen[outcome.host] = replace(whole, roles=tuple(roles), results=results)


def note_words(host: str, messages: Sequence[str]) -> None:
    """What a step says that fails on a host."""
    said = "; ".join(" ".join(message.split()) for message in messages if message.strip())
    _words[host] = said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def note_failure(host: str, step: str) -> None:
    """A host is out of the run at this step, for the reason that the step gave."""
    _failed[host] = f"{step}: {_words.get(host) or 'see above'}"


def note_unreached(host: str, why: str) -> None:
    """A host could not be connected to."""
    _failed[host] = why


def note_reached(host: str) -> None:
    """A host that was away is there again: it may have been a reboot."""
    _failed.pop(host, None)


def why_failed(host: str) -> str:
    """Why a host is out of the run."""
    return _failed.get(host) or _words.get(host) or "before its first step; see above"


def seen(machine: str) -> HostOutcome | None:
    """What was found of a machine; None where it was not verified."""
    return _seen.get(machine)
