"""The pinned Ollama release, checked and switched to atomically."""

from ollama_fleet.host.release import old_releases_removed, release_installed
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("Ollama")
def install_ollama(plan: HostPlan) -> None:
    """Install the release that the plan names, beside the one that runs."""
    release_installed(name="Install the pinned release", plan=plan)


@step("Old releases")
def remove_old_ollama(plan: HostPlan) -> None:
    """Keep as many releases as the plan says; only when the current one has been proved."""
    old_releases_removed(name="Remove releases that are not kept", release=plan.ollama)
