"""Where the authority of an inventory lies, as plans say it: `prod.ca` beside `prod.yml`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan


def folder_of(inventory: Path) -> Path:
    """The folder of the authority of `prod.yml` or `prod.py`."""
    return inventory.with_suffix(".ca").absolute()


def hosts_with_authority(plans: Mapping[str, HostPlan], inventory: Path) -> dict[str, HostPlan]:
    """`plans` with the folder of who signs for their part of the gateway."""
    folder = str(folder_of(inventory))
    return {
        name: replace(plan, hop=replace(plan.hop, authority=folder)) if plan.hop else plan
        for name, plan in plans.items()
    }


def gateways_with_authority(
    plans: Mapping[str, GatewayPlan], inventory: Path
) -> dict[str, GatewayPlan]:
    """`plans` with the folder of who signs for them."""
    folder = str(folder_of(inventory))
    return {name: replace(plan, authority=folder) for name, plan in plans.items()}
