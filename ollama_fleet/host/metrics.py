"""What machines show to monitors: programs, certificates, and the services in force."""

from collections.abc import Generator, Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.authority.places import gateway_places, hop_places, monitoring_places
from ollama_fleet.checks import metrics as checks
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.host import certificates
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.services import in_force, made_ready
from ollama_fleet.metrics import prepare
from ollama_fleet.metrics import services as all_services
from ollama_fleet.metrics.ends import Certificate
from ollama_fleet.metrics.machine import read_machine
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services import ready


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host; preflight asks it ahead."""
    return machine_asked(plan.monitoring, plan)


def machine_asked(shown: MonitoringPlan | None, plan: HostPlan | None) -> dict[str, str]:
    """What to ask a machine that shows this, or nothing."""
    needed = ready.questions(prepare.part_of(shown)) if shown else {}
    return {**needed, **all_services.asked(shown, plan)}


def own_asked() -> list[Mapping[str, str]]:
    """What to ask a gateway's own machine, for whoever asks it first; a host's preflight has asked."""
    if host.data.get("plan"):
        return []
    shown: MonitoringPlan | None = host.data.get("monitoring_plan")
    return [machine_asked(shown, None), certificates.metrics_asked(shown)]


def own_proof_asked() -> dict[str, str]:
    """What proves the metrics of a gateway's own machine."""
    return checks.gateway_questions(_own())


def own_results(gateway: GatewayPlan, answers: Answers) -> list[CheckResult]:
    """Results for them; none on a host, which has its own proof."""
    return checks.gateway_results(gateway, _own(), answers)


def _own() -> MonitoringPlan | None:
    return None if host.data.get("plan") else host.data.get("monitoring_plan")


@operation()
def metrics_ready(shown: MonitoringPlan) -> Generator[Any, None, None]:
    """
    Ensure a machine has what it needs to show metrics: packages, account, folders.

    + shown: what it is to show

    **Example:**

    .. code:: python

        metrics_ready(name="Install exporters", shown=plan.monitoring)
    """
    part = prepare.part_of(shown)
    yield from made_ready(part, ready.questions(part), shown.environment)


@operation()
def metrics_shown(
    shown: MonitoringPlan, plan: HostPlan | None = None
) -> Generator[Any, None, None]:
    """
    Ensure that a machine gathers its metrics and shows them to the fleet's monitors, and to nobody else.

    + shown: what it is to show
    + plan: what it is to become, where it is a host

    **Example:**

    .. code:: python

        metrics_shown(name="Show the metrics", shown=plan.monitoring, plan=plan)
    """
    questions = all_services.asked(shown, plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    has = certificates_of(shown, plan, host.data.get("gateway_plan"))
    wanted = all_services.services(shown, plan, read_machine(answers), has)
    told = f"metrics are shown to {', '.join(shown.monitors) or 'nobody yet'}"
    yield from in_force(all_services.steps(wanted, answers), told)


@operation()
def metrics_gone() -> Generator[Any, None, None]:
    """
    Ensure that a machine which shows nothing any more has nothing of monitoring.

    **Example:**

    .. code:: python

        metrics_gone(name="Take the exporters away")
    """
    wanted = all_services.asked(None, None)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
    else:
        yield from in_force(all_services.leftover_steps(answers), "nothing of monitoring is here")


def certificates_of(
    shown: MonitoringPlan, plan: HostPlan | None, gateway: GatewayPlan | None
) -> list[Certificate]:
    """Every certificate of a machine: where it lies, and what it is called."""
    places = [
        *(gateway_places(gateway) if gateway else ()),
        *(hop_places(plan.hop) if plan else ()),
        *monitoring_places(shown),
    ]
    return [(place.certificate, place.what) for place in places]
