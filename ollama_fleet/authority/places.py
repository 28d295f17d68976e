"""Which certificates a machine needs, and in which files: a host for its hop, a gateway for both sides."""

from dataclasses import dataclass

from ollama_fleet.authority.leaf import Leaf, client_leaf, host_leaf, server_leaf
from ollama_fleet.gateway.places import (
    BALANCER_UNIT,
    GATEWAY_TLS,
    GATEWAY_UNIT,
    HOP_TLS,
    HOP_UNIT,
    USER,
)
from ollama_fleet.planner.gateway import GatewayPlan, HopPlan

# Whose processes read keys: nginx and HAProxy.
GROUP = USER


@dataclass(frozen=True)
class Given:
    """A certificate and its key in files of the deploying machine."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Place:
    """A certificate and its key in files of a machine, and the unit that is reloaded with them.

    HAProxy has both in one file. `trust`: a file with the authorities whose certificates count at the
    other end. `given`: not signed by the fleet's authority, but the user's. `stands_in`: until there is
    one of somebody else's, which is then as good.
    """

    leaf: Leaf
    certificate: str
    key: str
    unit: str
    what: str
    trust: str | None = None
    given: Given | None = None
    stands_in: bool = False

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return self.certificate.rpartition("/")[0]


def hop_places(hop: HopPlan | None) -> tuple[Place, ...]:
    """Of a host; none where every gateway is on the host itself."""
    if hop is None or hop.listen_port is None:
        return ()
    return (
        Place(
            host_leaf(hop),
            f"{HOP_TLS}/server.pem",
            f"{HOP_TLS}/server.key",
            HOP_UNIT,
            "certificate for gateways",
            trust=f"{HOP_TLS}/gateways-ca.pem",
        ),
    )


def gateway_places(plan: GatewayPlan) -> tuple[Place, ...]:
    """Of a gateway: one for clients where it speaks TLS, one for hosts where it calls others."""
    calls = any(not plan.is_here(upstream) for upstream in plan.upstreams)
    serves = plan.tls.source != "none"
    return (*([_server(plan)] if serves else []), *([_client(plan)] if calls else []))


def _server(plan: GatewayPlan) -> Place:
    tls = plan.tls
    given = Given(tls.certificate, tls.key) if tls.certificate and tls.key else None
    return Place(
        server_leaf(plan),
        f"{GATEWAY_TLS}/server.pem",
        f"{GATEWAY_TLS}/server.key",
        GATEWAY_UNIT,
        "certificate for clients",
        given=given,
        stands_in=tls.source == "acme",
    )


def _client(plan: GatewayPlan) -> Place:
    both = f"{GATEWAY_TLS}/hop.pem"
    trust = f"{GATEWAY_TLS}/hop-ca.pem"
    return Place(client_leaf(plan), both, both, BALANCER_UNIT, "certificate for hosts", trust=trust)
