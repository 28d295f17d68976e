"""A verification that is over in a moment: nothing is generated, nobody is waited for, no container runs.

What is not asked is not judged, so the checks themselves know nothing of it.
"""

from dataclasses import replace

from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.checks.requests import OPEN
from ollama_fleet.planner.plan import HostPlan

SLOW = ("wait", "generations", "containers docker", "containers podman")


def quick_questions(plan: HostPlan) -> dict[str, str]:
    """Those questions of a whole verification whose answers come at once."""
    asked = verification_questions(replace(plan, verify_timeout_s=0))
    return {name: text for name, text in {**asked, "start": OPEN}.items() if name not in SLOW}
