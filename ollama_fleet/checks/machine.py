"""One machine of a fleet under verification: what it is asked, and what its answers show of all its parts.

The same for every runner: `fleet verify`, the testinfra suite, the host's own timer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ollama_fleet.checks import metrics, own_machine, under_way
from ollama_fleet.checks.examine import examine
from ollama_fleet.checks.gateway import gateway_questions, gateway_results
from ollama_fleet.checks.mirror import judge_mirror
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.monitor import monitor_questions, monitor_results
from ollama_fleet.checks.outcome import HostOutcome, Mode, Role
from ollama_fleet.checks.quick import quick_questions
from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.mirrors.state import questions as mirror_questions
from ollama_fleet.mirrors.state import read_state as read_mirror
from ollama_fleet.monitor.proof import longest_s
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

NO_ANSWER = "it gave no answer to some questions; is its login shell a POSIX shell?"


@dataclass(frozen=True)
class Machine:
    """One machine and what it is to be; several of these, or nothing where it is to be absent.

    `name` is its name in the inventory. `reach` is pyinfra's data of how to get there, without what is
    not given; `local`: it is this very machine. `shown`: what a gateway's own machine shows to monitors.
    """

    name: str
    plan: HostPlan | None = None
    gateway: GatewayPlan | None = None
    mirror: MirrorPlan | None = None
    reach: tuple[tuple[str, Any], ...] = ()
    local: bool = False
    monitor: MonitorPlan | None = None
    shown: MonitoringPlan | None = None

    @property
    def slices_plan(self) -> HostPlan | None:
        """Its plan, where it is to be a host with slices."""
        return self.plan if self.plan and self.plan.removal is None else None

    @property
    def teller(self) -> own_machine.Part | None:
        """The part with which a machine without slices is asked what it needs for itself."""
        return own_machine.teller(self.plan, self.mirror, self.gateway, self.monitor)

    @property
    def roles(self) -> tuple[Role, ...]:
        """What it is to be; nothing where it is to be absent."""
        parts: Iterable[tuple[Role, object]] = (
            ("host", self.slices_plan),
            ("gateway", self.gateway),
            ("mirror", self.mirror),
            ("monitor", self.monitor),
        )
        return tuple(role for role, part in parts if part)

    @property
    def address(self) -> str:
        """Where it is reached; empty for this machine."""
        return "" if self.local else str(dict(self.reach).get("ssh_hostname", self.name))


def first_questions(machine: Machine, mode: Mode) -> dict[str, str]:
    """What to ask in the first round: its slices' host and its mirror."""
    asked: dict[str, str] = {}
    if plan := machine.slices_plan:
        host = quick_questions(plan) if mode == "quick" else verification_questions(plan)
        asked |= {**host, **under_way.QUESTIONS}
    asked |= mirror_questions(machine.mirror) if machine.mirror else {}
    return _with_own(machine, asked) if machine.mirror else asked


def last_questions(machine: Machine, mode: Mode) -> dict[str, str]:
    """What to ask when all machines have answered: gateways ask the slices of others, monitors look."""
    quick = mode == "quick"
    asked = gateway_questions(machine.gateway, quick) if machine.gateway else {}
    asked |= metrics.gateway_questions(machine.shown)
    asked |= monitor_questions(machine.monitor, quick) if machine.monitor else {}
    return asked if machine.mirror else _with_own(machine, asked)


def _with_own(machine: Machine, asked: dict[str, str]) -> dict[str, str]:
    """Those of its parts, and in the same round those about itself."""
    if not machine.teller:
        return asked
    return own_machine.questions(asked, has_monitor=machine.monitor is not None)


def answering_s(machine: Machine, mode: Mode) -> float:
    """Seconds within which a machine has to answer one round."""
    slow = (machine.slices_plan or machine.gateway) and mode == "full"
    waited = machine.slices_plan.verify_timeout_s if machine.slices_plan else 0
    looked = longest_s(machine.monitor) if machine.monitor and mode == "full" else 0
    return (120.0 + 2 * waited if slow else 60.0) + looked


def found(machine: Machine, mode: Mode, first: Answers | str, last: Answers | str) -> HostOutcome:
    """What a machine's answers of both rounds show; a text says why there are none."""
    error = _why_none(first_questions(machine, mode), first)
    outcome = _of_host(machine, first) if not error and not isinstance(first, str) else None
    outcome = outcome or HostOutcome(machine.name, machine.roles)
    results: list[CheckResult] = list(outcome.results)
    if (machine.gateway or machine.monitor) and not error:
        error = _why_none(last_questions(machine, mode), last)
        if not error and not isinstance(last, str):
            if gateway := machine.gateway:
                results += gateway_results(gateway, last)
                results += metrics.gateway_results(gateway, machine.shown, last)
            results += monitor_results(machine.monitor, last) if machine.monitor else []
            results += own_machine.results(machine.teller, last) if machine.teller else []
    return replace(
        outcome,
        host=machine.name,
        roles=machine.roles,
        results=tuple(results),
        error=error,
        address=machine.address,
    )


def _of_host(machine: Machine, answers: Answers) -> HostOutcome | None:
    plan, mirror = machine.slices_plan, machine.mirror
    seen = examine(plan, answers) if plan else HostOutcome(machine.name, ())
    more = under_way.under_way(machine.name, answers) if plan else []
    more += judge_mirror(mirror, read_mirror(answers)) if mirror else []
    more += own_machine.results(machine.teller, answers) if machine.teller else []
    return replace(seen, results=(*seen.results, *more))


def _why_none(asked: dict[str, str], answers: Answers | str) -> str:
    if isinstance(answers, str):
        return answers
    return "" if asked.keys() <= answers.keys() else NO_ANSWER
