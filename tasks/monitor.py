"""The machine that looks at all others: Prometheus, its alert rules, and the proof that it sees them."""

from pyinfra.api import deploy

from ollama_fleet.host.certificates import monitor_certificates
from ollama_fleet.host.monitor import monitor_left, monitor_proved, monitor_ready, monitor_runs
from ollama_fleet.host.steps import step
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.plan import HostPlan


@deploy("Monitor")
def run_monitor(monitor: MonitorPlan) -> None:
    """Look at every machine of the fleet."""
    monitor_ready(name="Install what the monitor needs", monitor=monitor)
    monitor_certificates(name="Give it its certificate", plan=monitor, ca_dir=monitor.authority)
    monitor_runs(name="Run Prometheus", monitor=monitor)


@deploy("Monitor")
def prove_monitor(monitor: MonitorPlan) -> None:
    """Prove that it sees them, when they are ready to be seen."""
    monitor_proved(name="Prove that the monitor sees every machine", monitor=monitor)


@step("Monitor")
def forget_monitor(plan: HostPlan) -> None:
    """Where there is none any more nothing of it stays."""
    monitor_left(name="Take away what a monitor has left", plan=plan)
