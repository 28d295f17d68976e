"""The slices' models, in memory before the first request."""

from ollama_fleet.host.steps import step
from ollama_fleet.host.warm import models_warm
from ollama_fleet.planner.plan import HostPlan


@step("Warm")
def warm_slices(plan: HostPlan) -> None:
    """Have slices load their models that did not when they started."""
    models_warm(name="Load the models", plan=plan)
