"""A caching mirror: the hosts fetch through it, so it comes before them."""

from pyinfra.api import deploy

from ollama_fleet.host.mirrors import mirror_proved, mirror_serves
from ollama_fleet.planner.mirror import MirrorPlan


@deploy("Mirror")
def run_mirror(mirror: MirrorPlan) -> None:
    """Let nginx serve and cache what hosts fetch, and prove it before any of them does."""
    mirror_serves(name="Serve releases, packages and models", mirror=mirror)
    mirror_proved(name="Prove that the mirror serves", mirror=mirror)
