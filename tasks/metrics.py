"""Metrics of hosts and gateways, for the fleet's monitors."""

from pyinfra import host
from pyinfra.api import deploy

from ollama_fleet.host.certificates import metrics_certificate
from ollama_fleet.host.metrics import metrics_gone, metrics_ready, metrics_shown
from ollama_fleet.host.session import keys_alone
from ollama_fleet.host.steps import step
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan


@step("Metrics")
def show_metrics(plan: HostPlan) -> None:
    """Gather what GPUs, slices and a gateway here do, and show it to monitors; or keep nothing of it."""
    _metrics(plan.monitoring, plan)


@deploy("Gateway metrics")
def show_gateway_metrics() -> None:
    """The same on a gateway's own machine; a host has its own step."""
    if not host.data.get("plan") and not keys_alone(host):
        _metrics(host.data.get("monitoring_plan"), None)


def _metrics(shown: MonitoringPlan | None, plan: HostPlan | None) -> None:
    if shown is None:
        metrics_gone(name="Take the exporters away")
        return
    metrics_ready(name="Install the exporters", shown=shown)
    metrics_certificate(name="Give it a certificate", shown=shown, ca_dir=shown.authority)
    metrics_shown(name="Show the metrics", shown=shown, plan=plan)
