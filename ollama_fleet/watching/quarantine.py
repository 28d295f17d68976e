"""Slices that the watchdog took out of service: what to ask a host, and its answer as values.

A mark is a file: a line `since <Unix time> <the same for people>`, and one `why <words>`.
"""

from dataclasses import dataclass

from ollama_fleet.questions import Answers
from ollama_fleet.watching.places import WATCHDOG_STATE

QUESTION = "quarantine"
_ASK = f"""for mark in {WATCHDOG_STATE}/*.quarantined; do
    [ -f "$mark" ] || continue
    name=${{mark##*/}} name=${{name%.quarantined}}
    echo "slice $name $(systemctl is-active "ollama-$name.service")"
    head -c 2000 "$mark"
done; true"""


@dataclass(frozen=True)
class Quarantine:
    """Why a slice is out of service; `is_running`: somebody has started it again since."""

    since: str
    why: str
    is_running: bool


def questions() -> dict[str, str]:
    """What to ask a host."""
    return {QUESTION: _ASK}


def read_quarantined(answers: Answers) -> dict[str, Quarantine]:
    """Slice to its quarantine."""
    found: dict[str, Quarantine] = {}
    name = ""
    for line in answers[QUESTION].lines if QUESTION in answers else []:
        key, _, rest = line.partition(" ")
        if key == "slice":
            name, _, state = rest.partition(" ")
            found[name] = Quarantine("some time", "", state == "active")
        elif name and key == "since":
            words = rest.partition(" ")[2]
            found[name] = Quarantine(words, found[name].why, found[name].is_running)
        elif name and key == "why":
            found[name] = Quarantine(found[name].since, rest, found[name].is_running)
    return found
