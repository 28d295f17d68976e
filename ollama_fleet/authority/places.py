"""Which certificates a machine needs, and in which files: a host for its hop, a gateway for both sides, and
whoever shows metrics for its door."""

from dataclasses import dataclass

from ollama_fleet.authority.leaf import (
    Leaf,
    client_leaf,
    host_leaf,
    metrics_leaf,
    monitor_door_leaf,
    monitor_leaf,
    server_leaf,
)
from ollama_fleet.gateway.places import (
    BALANCER_UNIT,
    GATEWAY_TLS,
    GATEWAY_UNIT,
    HOP_TLS,
    HOP_UNIT,
    USER,
)
from ollama_fleet.metrics.places import DOOR_UNIT
from ollama_fleet.metrics.places import TLS as METRICS_TLS
from ollama_fleet.metrics.places import USER as METRICS_USER
from ollama_fleet.monitor import places as monitor
from ollama_fleet.planner.gateway import GatewayPlan, HopPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan

# Whose processes read the gateway's keys: nginx and HAProxy.
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
    one of somebody else's, which is then as good. `group`: whose processes read the key.
    """

    leaf: Leaf
    certificate: str
    key: str
    unit: str
    what: str
    trust: str | None = None
    given: Given | None = None
    stands_in: bool = False
    group: str = GROUP

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


def monitoring_places(plan: MonitoringPlan | None) -> tuple[Place, ...]:
    """Of a machine that shows metrics; none where it shows none."""
    if plan is None:
        return ()
    return (
        Place(
            metrics_leaf(plan),
            f"{METRICS_TLS}/server.pem",
            f"{METRICS_TLS}/server.key",
            DOOR_UNIT,
            "certificate for monitors",
            trust=f"{METRICS_TLS}/monitors-ca.pem",
            group=METRICS_USER,
        ),
    )


def gateway_places(plan: GatewayPlan) -> tuple[Place, ...]:
    """Of a gateway: one for clients where it speaks TLS, one for hosts where it calls others."""
    calls = any(not plan.is_here(upstream) for upstream in plan.upstreams)
    serves = plan.tls.source != "none"
    return (*([_server(plan)] if serves else []), *([_client(plan)] if calls else []))


def monitor_places(plan: MonitorPlan) -> tuple[Place, ...]:
    """Of a monitor: one to look at machines, and one for people where they reach it."""
    looks = Place(
        monitor_leaf(plan.name),
        f"{monitor.TLS}/client.pem",
        f"{monitor.TLS}/client.key",
        monitor.UNIT,
        "certificate for looking at machines",
        trust=f"{monitor.TLS}/machines-ca.pem",
        group=monitor.USER,
    )
    door = Place(
        monitor_door_leaf(plan),
        f"{monitor.TLS}/server.pem",
        f"{monitor.TLS}/server.key",
        monitor.DOOR_UNIT,
        "certificate for people",
        group=monitor.USER,
    )
    return (looks,) if plan.is_loopback else (looks, door)


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
