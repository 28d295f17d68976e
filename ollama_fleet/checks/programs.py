"""Which programs run on a host, of the few that checks look for: one look at all processes."""

import re
from collections.abc import Iterable

from ollama_fleet.checks.model import Asked, Check
from ollama_fleet.checks.requests import FOLDER

OLLAMA = ("ollama", "llama-server")
# The kernel keeps fifteen letters of a name.
TIMEKEEPERS = ("chronyd", "ntpd", "openntpd", "systemd-timesyn", "ptp4l", "phc2sys")
# What was found, for questions that come later.
TABLE = f"{FOLDER}/programs"
QUESTION = "programs"


def _look(names: Iterable[str]) -> str:
    return f"grep -sHxE '{'|'.join(names)}' /proc/[0-9]*/comm"


# Of a machine on which no Ollama is planned: who sets its clock.
OF_ANY = {QUESTION: f"{_look(TIMEKEEPERS)}; true"}


def running(asked: Asked) -> set[str]:
    """Names of those that run."""
    return set(re.findall(r"^/proc/\d+/comm:(.+)$", asked.text(QUESTION), re.M))


CHECK = Check(
    "programs",
    lambda subject: (),
    lambda plan: {QUESTION: f"{_look((*OLLAMA, *TIMEKEEPERS))} >{TABLE}\ncat {TABLE}; true"},
)
