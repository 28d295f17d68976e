"""What a monitor leaves on a host that runs none any more: keys, configuration, the account; what it had
seen goes, too. Pure."""

from ollama_fleet.monitor import places
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

QUESTION = "monitor.left"


def questions(plan: HostPlan) -> dict[str, str]:
    """Which of the places are there that should not be; nothing where all of them may."""
    if plan.is_monitor:
        return {}
    paths = " ".join((places.SETTINGS, places.SYSUSERS, places.DATA))
    return {QUESTION: f'for path in {paths}; do [ ! -e "$path" ] || echo "$path"; done'}


def leftover_steps(answers: Answers) -> list[str]:
    """What takes them away; empty when none is there. Its units went with those of the slices."""
    found = answers[QUESTION].lines if QUESTION in answers else []
    if not found:
        return []
    return [
        "say 'taking away what a monitor has left here'",
        *(f"rm -rf {path}" for path in found),
        f"! getent passwd {places.USER} >/dev/null || userdel {places.USER} || "
        f"say 'the user {places.USER} stays: something runs as it'",
    ]
