"""What later steps ask of a host and hold against it: preflight does both, in its one exec.

A step that is not here works as well, but costs an exec of its own on an unchanged host, and can
only object when earlier steps have changed things. `asks` has to give the very texts that the step
asks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ollama_fleet.driver.state import read_state
from ollama_fleet.gateway.leftovers import questions as gateway_leftovers
from ollama_fleet.host import (
    certificates,
    containers,
    driver,
    firewall,
    gateway,
    metrics,
    mig,
    models,
    release,
    units,
    warm,
)
from ollama_fleet.host.answers import ask
from ollama_fleet.monitor.leftovers import questions as monitor_leftovers
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.watch_services import watch_questions


@dataclass(frozen=True)
class Step:
    """A later step: its questions, and what keeps its part of the plan from a host, with remedies."""

    asks: Callable[[HostPlan], Mapping[str, str]]
    problems: Callable[[HostPlan, Answers], list[str]] | None = None


def _driver_problems(plan: HostPlan, answers: Answers) -> list[str]:
    return driver.problems(plan, read_state(answers))


def _metrics_asked(plan: HostPlan) -> Mapping[str, str]:
    return certificates.metrics_asked(plan.monitoring)


def _metrics_problems(plan: HostPlan, answers: Answers) -> list[str]:
    return certificates.metrics_problems(plan.monitoring, answers)


# In the order of deploy.py.
STEPS = (
    Step(firewall.asked, firewall.problems),
    Step(driver.asked, _driver_problems),
    Step(containers.asked, containers.problems),
    Step(release.asked, release.problems),
    Step(gateway.asked),
    Step(gateway_leftovers),
    Step(monitor_leftovers),
    Step(certificates.hop_asked, certificates.hop_problems),
    Step(mig.asked, mig.problems),
    Step(units.asked),
    Step(watch_questions),
    Step(models.asked, models.problems),
    Step(warm.asked),
    Step(metrics.asked),
    Step(_metrics_asked, _metrics_problems),
)


def ahead(plan: HostPlan) -> list[Mapping[str, str]]:
    """The questions of every step that comes after preflight."""
    return [step.asks(plan) for step in STEPS]


def objections(plan: HostPlan) -> list[str]:
    """What the later steps hold against this host, before anything is changed on it."""
    found = []
    for step in STEPS:
        if step.problems:
            questions = step.asks(plan)
            answers = ask(questions)
            if questions.keys() <= answers.keys():
                found += step.problems(plan, answers)
    return found
