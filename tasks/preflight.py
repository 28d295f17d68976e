"""The host can take the plan, or nothing is changed on it: asked first, and when its driver is there."""

from ollama_fleet.host.requirements import hardware_matches, requirements_met
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("Preflight")
def preflight(plan: HostPlan) -> None:
    """Refuse a host that cannot take the plan; install the few commands that later steps need."""
    proxy = plan.provision.environment
    requirements_met(name="Check what the host has", plan=plan, _env=proxy)


@step("Hardware")
def match_gpus(plan: HostPlan) -> None:
    """Refuse a host whose GPUs, with the driver that it has now, are others; nothing is cut then."""
    hardware_matches(name="Check that the GPUs are those of the plan", plan=plan)
