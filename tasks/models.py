"""The models that the slices serve, in the host's shared store."""

from ollama_fleet.host.custom import custom_models_made
from ollama_fleet.host.downloads import downloads_started
from ollama_fleet.host.models import models_present
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("Downloads")
def start_downloads(plan: HostPlan) -> None:
    """Begin with what takes longest, the release and the models, beside all other steps."""
    downloads_started(name="Start the downloads", plan=plan)


@step("Models")
def fetch_models(plan: HostPlan) -> None:
    """Wait for the models, and for what is to go; make those that are made here."""
    models_present(name="Fetch missing models", plan=plan)
    custom_models_made(name="Make custom models", plan=plan)
