"""A host that is given up: everything of ours goes, and nothing else is done there."""

from ollama_fleet.host.removal import everything_removed
from ollama_fleet.host.steps import removal_step
from ollama_fleet.planner.plan import HostPlan


@removal_step("Removal")
def remove_everything(plan: HostPlan) -> None:
    """Take away all that a deploy put onto a host with `state: absent`."""
    everything_removed(name="Remove everything of ours", plan=plan)
