"""Where the authority of an inventory lies, as plans say it: `prod.ca` beside `prod.yml`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan


def folder_of(inventory: Path) -> Path:
    """The folder of the authority of `prod.yml` or `prod.py`."""
    return inventory.with_suffix(".ca").absolute()


def hosts_with_authority(plans: Mapping[str, HostPlan], inventory: Path) -> dict[str, HostPlan]:
    """`plans` with the folder of who signs for their parts of the gateway and of monitoring."""
    folder = str(folder_of(inventory))
    return {name: _host_with(plan, folder) for name, plan in plans.items()}


def monitoring_with_authority(
    plan: MonitoringPlan | None, inventory: Path
) -> MonitoringPlan | None:
    """A gateway's own machine's part, with the folder of who signs for it."""
    return replace(plan, authority=str(folder_of(inventory))) if plan else None


def monitors_with_authority(
    plans: Mapping[str, MonitorPlan], inventory: Path
) -> dict[str, MonitorPlan]:
    """`plans` with the folder of who signs for them."""
    folder = str(folder_of(inventory))
    return {name: replace(plan, authority=folder) for name, plan in plans.items()}


def _host_with(plan: HostPlan, folder: str) -> HostPlan:
    hop, shown = plan.hop, plan.monitoring
    return replace(
        plan,
        hop=replace(hop, authority=folder) if hop else None,
        monitoring=replace(shown, authority=folder) if shown else None,
    )


def gateways_with_authority(
    plans: Mapping[str, GatewayPlan], inventory: Path
) -> dict[str, GatewayPlan]:
    """`plans` with the folder of who signs for them."""
    folder = str(folder_of(inventory))
    return {name: replace(plan, authority=folder) for name, plan in plans.items()}
