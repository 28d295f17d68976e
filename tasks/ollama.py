"""The pinned Ollama release, checked and switched to atomically."""

from pyinfra.api import deploy

from ollama_fleet.host.release import release_installed
from ollama_fleet.planner.plan import HostPlan


@deploy("Ollama")
def install_ollama(plan: HostPlan) -> None:
    """Install the release that the plan names, beside the one that runs."""
    release_installed(name="Install the pinned release", plan=plan)
