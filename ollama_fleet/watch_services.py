"""The prober and the watchdog as services of a host: what to ask about them, and the steps between. Pure."""

from collections.abc import Sequence

from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, Hardware, read_hardware
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Service, Step, questions, read_found, service_steps
from ollama_fleet.watching import places
from ollama_fleet.watching.health import health_files
from ollama_fleet.watching.watchdog import watchdog_files

PREFIX = "watch"
LEFT = "watch.left"


def watch_services(
    plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware
) -> list[Service]:
    """Where gateways are the prober is a matter of the hop, which comes before the slices."""
    made = []
    if plan.hop is None and places.is_watched(plan):
        made.append(Service(places.HEALTH_UNIT, (), tuple(health_files(plan))))
    if places.is_repaired(plan):
        files = watchdog_files(plan, bound, hardware)
        made.append(Service(places.WATCHDOG_UNIT, (), tuple(files)))
    return made


def watch_questions(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about them, and whether a watchdog that is not wanted has left anything."""
    wanted = {} if places.is_repaired(plan) else {LEFT: f"[ -e {places.WATCHDOG_STATE} ]"}
    if services := watch_services(plan, (), Hardware()):
        wanted |= {**HARDWARE_QUESTIONS, **questions(PREFIX, services, [])}
    return wanted


def watch_steps(plan: HostPlan, answers: Answers) -> list[Step]:
    """What brings them into force; empty when they are. Raises CannotBindError."""
    gone: list[Step] = []
    if LEFT in answers and answers[LEFT].code == 0:
        gone = [f"rm -rf {places.WATCHDOG_STATE}"]
    if not watch_services(plan, (), Hardware()):
        return gone
    hardware = read_hardware(answers)
    bound = bind(plan, hardware) if places.is_repaired(plan) else ()
    services = watch_services(plan, bound, hardware)
    return [*gone, *service_steps(services, [], read_found(PREFIX, services, answers))]
