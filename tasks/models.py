"""The models that the slices serve, in the host's shared store."""

from pyinfra.api import deploy

from ollama_fleet.host.models import models_present
from ollama_fleet.planner.plan import HostPlan


@deploy("Models")
def fetch_models(plan: HostPlan) -> None:
    """Pull what is missing, through one loader."""
    models_present(name="Fetch missing models", plan=plan)
