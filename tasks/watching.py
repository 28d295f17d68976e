"""The watch over the slices, and the watchdog that repairs them."""

from ollama_fleet.host.steps import step
from ollama_fleet.host.watch import slices_watched
from ollama_fleet.planner.plan import HostPlan


@step("Watch")
def watch_slices(plan: HostPlan) -> None:
    """Ask the slices again and again whether they serve, and repair those that do not."""
    slices_watched(name="Watch the slices", plan=plan)
