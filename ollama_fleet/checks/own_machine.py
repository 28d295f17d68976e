"""What a machine needs for itself where it has no slices, whose checks ask it anyway: room and a right clock.

A gateway's certificates are refused by a clock that is off, and a full disk ends its log, a monitor's memory
and whatever is to be renewed. Asked and told once, with the first of the machine's parts.
"""

from collections.abc import Iterator, Mapping

from ollama_fleet.checks import clock, disk, programs
from ollama_fleet.checks.model import Asked, CheckResult
from ollama_fleet.monitor.places import DATA
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

Part = MirrorPlan | GatewayPlan | MonitorPlan
KINDS = {MirrorPlan: "mirror", GatewayPlan: "gateway", MonitorPlan: "monitor"}
CHECKS = ("disk", "clock")


def teller(
    plan: HostPlan | None,
    mirror: MirrorPlan | None,
    gateway: GatewayPlan | None,
    monitor: MonitorPlan | None,
) -> Part | None:
    """The part of a machine with which it is asked; None where it has slices. Where it has none, `plan` is
    None or of a removal."""
    if plan and plan.removal is None:
        return None
    return mirror or gateway or monitor


def questions(asked: Mapping[str, str], has_monitor: bool = False) -> dict[str, str]:
    """`asked`, and what else there is to ask, before it and after it."""
    folders = ("/", disk.LOGS, *([DATA] if has_monitor else []))
    own = {**disk.questions(folders), **programs.OF_ANY}
    return {**clock.first_questions(), **own, **asked, **clock.last_questions()}


def results(of: Part, answers: Answers) -> Iterator[CheckResult]:
    """What the answers show of the machine; nothing where they were not asked for."""
    asked, subject = Asked(of.host, answers), subject_of(of)
    yield from disk.judge(asked, subject, _largest(of))
    yield from clock.judge(asked, subject)


def subject_of(of: Part) -> str:
    """As other results of that part have it."""
    return f"{KINDS[type(of)]} {of.name}"


def _largest(of: Part) -> str:
    if isinstance(of, MonitorPlan):
        return f"what Prometheus keeps in {DATA} (`monitoring: {{retention_gib: …}}`)"
    return "old logs in /var/log"
