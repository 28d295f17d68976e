"""From a host's answers to all that a verification says of it: results, and the sight of its GPUs."""

from ollama_fleet.checks.model import Subject
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.checks.registry import judge
from ollama_fleet.checks.sight import bound_where_possible, sights
from ollama_fleet.hardware.found import read_hardware
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers


def examine(plan: HostPlan, answers: Answers) -> HostOutcome:
    """What the answers to `verification_questions(plan)` show."""
    hardware = read_hardware(answers)
    subject = Subject(plan, hardware, bound_where_possible(plan, hardware), answers)
    gpus, slices = sights(subject)
    return HostOutcome(
        plan.host,
        ("host",),
        tuple(judge(plan, answers)),
        gpus=gpus,
        slices=slices,
        driver=hardware.loaded_driver or "",
        ollama=plan.release.version if plan.release else "",
    )
