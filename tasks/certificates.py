"""Certificates with which gateways, hosts and clients know each other, and plain strangers get nowhere."""

from pyinfra.api import deploy

from ollama_fleet.host.acme import acme_certificate
from ollama_fleet.host.certificates import gateway_certificates, hop_certificates
from ollama_fleet.host.steps import step
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan


@step("Certificates for gateways")
def certify_host(plan: HostPlan) -> None:
    """Let a host be known to its gateways, and know them; before its nginx starts."""
    if plan.hop:
        authority = plan.hop.authority
        hop_certificates(name="Certificate for gateways", plan=plan, ca_dir=authority)


@deploy("Certificates")
def certify_gateway(gateway: GatewayPlan) -> None:
    """Let a gateway be known to clients and hosts; before its services start."""
    gateway_certificates(
        name="Certificates for clients and hosts", plan=gateway, ca_dir=gateway.authority
    )


@deploy("ACME")
def certify_by_acme(gateway: GatewayPlan) -> None:
    """Have certbot get a gateway's certificate; when its nginx runs."""
    acme_certificate(name="Certificate by ACME", plan=gateway)
