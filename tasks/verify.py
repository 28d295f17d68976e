"""Last step: proof that every slice serves from its own GPU."""

from ollama_fleet.host.steps import step
from ollama_fleet.host.verification import checks_hold
from ollama_fleet.planner.plan import HostPlan


@step("Verify")
def verify(plan: HostPlan) -> None:
    """Ask the host everything, with one real generation per slice, and judge the answers."""
    checks_hold(name="Prove that every slice serves from its own GPU", plan=plan)
