"""First step: the host can take the plan, or nothing is changed on it."""

from pyinfra.api import deploy

from ollama_fleet.host.requirements import requirements_met
from ollama_fleet.planner.plan import HostPlan


@deploy("Preflight")
def preflight(plan: HostPlan) -> None:
    """Refuse a host that cannot take the plan; install the few commands that later steps need."""
    requirements_met(name="Check what the host has", plan=plan)
