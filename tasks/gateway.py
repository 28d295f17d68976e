"""One address for the whole fleet: the gateway's machines, and each host's part."""

from pyinfra.api import deploy

from ollama_fleet.host.acme import acme_certificate
from ollama_fleet.host.certificates import gateway_certificates, hop_certificates
from ollama_fleet.host.gateway import (
    gateway_proved,
    gateway_ready,
    gateway_serves,
    hop_ready,
    hop_serves,
    hosts_are_done,
)
from ollama_fleet.host.gateway_left import leftovers_gone
from ollama_fleet.host.steps import step
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan


@deploy("Gateway")
def run_gateway(gateway: GatewayPlan) -> None:
    """Answer for the slices that are planned: those that go get nothing new before they do."""
    gateway_ready(name="Install what the gateway needs", gateway=gateway)
    gateway_certificates(name="Give it its certificates", plan=gateway, ca_dir=gateway.authority)
    gateway_serves(name="Run the gateway", gateway=gateway)
    acme_certificate(name="Have certbot get its certificate", plan=gateway)


@deploy("Hosts")
def wait_for_hosts() -> None:
    """A gateway has little to do, and would be proved before its hosts serve."""
    hosts_are_done(name="Wait for the hosts")


@deploy("Gateway")
def prove_gateway(gateway: GatewayPlan) -> None:
    """Prove that it serves, when the hosts behind it do."""
    gateway_proved(name="Prove that the gateway reaches every slice", gateway=gateway)


@step("Hop")
def open_hop(plan: HostPlan) -> None:
    """Let gateways reach the host's slices, which stay on loopback."""
    if plan.hop:
        hop_ready(name="Install what the hop needs", plan=plan)
        authority = plan.hop.authority
        hop_certificates(name="Give it a certificate", plan=plan, ca_dir=authority)
        hop_serves(name="Let gateways reach the slices", plan=plan)


@step("Hop")
def forget_gateway(plan: HostPlan) -> None:
    """Where there is none any more nothing of it stays; its units went with those of the slices."""
    leftovers_gone(name="Take away what a gateway has left", plan=plan)
