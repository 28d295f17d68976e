"""The machine's firewall: before anything listens that it has to guard."""

from pyinfra.api import deploy

from ollama_fleet.host.firewall import firewall_in_force
from ollama_fleet.host.steps import step
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.planner.plan import HostPlan


@step("Firewall")
def guard_ports(plan: HostPlan) -> None:
    """Let in who has to get in, and never lock out whoever deploys."""
    firewall_in_force(name="Guard the ports", firewall=plan.firewall)


@deploy("Firewall")
def guard_machine(firewall: FirewallPlan) -> None:
    """The same on a mirror's or gateway's own machine."""
    firewall_in_force(name="Guard the ports", firewall=firewall)
