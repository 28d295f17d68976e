"""One hardened systemd unit per slice."""

from ollama_fleet.host.steps import step
from ollama_fleet.host.units import units_converged
from ollama_fleet.planner.plan import HostPlan


@step("Slices")
def run_slices(plan: HostPlan) -> None:
    """Install, change and remove units until exactly the planned slices run."""
    units_converged(name="Run one unit per slice", plan=plan)
