"""Every service of a monitor, and what its machine is asked about them."""

from ollama_fleet.monitor.door import door_services
from ollama_fleet.monitor.prepare import sysusers_file
from ollama_fleet.monitor.prometheus import prometheus_service
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Found, Service, read_found
from ollama_fleet.services.service import questions as service_questions
from ollama_fleet.templating import HostFile

PREFIX = "monitor"


def services_of(plan: MonitorPlan) -> list[Service]:
    """Prometheus, and its door where others may look."""
    return [prometheus_service(plan), *door_services(plan)]


def common_files() -> list[HostFile]:
    """Those that are no service's."""
    return [sysusers_file()]


def questions(plan: MonitorPlan) -> dict[str, str]:
    """What to ask about them."""
    return service_questions(PREFIX, services_of(plan), common_files())


def found_of(plan: MonitorPlan, answers: Answers) -> Found:
    """Answers to `questions`."""
    return read_found(PREFIX, services_of(plan), answers)
