"""What a machine shows to monitors, and to whom.

Frozen values; `monitoring_of` makes them of an inventory. They say what is asked for, not how it is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ollama_fleet.planner.gateway import machines_of
from ollama_fleet.planner.provision import Provision
from ollama_fleet.spec.monitoring_ports import PORTS, first_port

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet


@dataclass(frozen=True)
class MonitoringPlan:
    """The metrics of one host or of a gateway's own machine.

    Shown at `port` with TLS to whoever has a client certificate of one of `monitors`; behind it the next
    ports are taken on loopback. `interval_s`: seconds between two looks. `gpu` is auto, dcgm or textfile,
    `node_exporter` own or site. `environment`: what installing its packages sees. `authority`: folder of
    who signs certificates, on the deploying machine.
    """

    machine: str
    address: str
    port: int
    interval_s: int
    gpu: str
    node_exporter: str
    monitors: tuple[str, ...]
    on_host: bool
    is_gateway: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    authority: str = ""

    @property
    def inside(self) -> "Inside":
        """Where on loopback the exporters behind it listen."""
        return Inside(*range(self.port + 1, self.port + PORTS))


class Inside(NamedTuple):
    """Ports on loopback: of the node exporter, of DCGM's, of the balancer's own, of what the gateway's nginx
    says of itself, of mtail, and of the exporter of that nginx."""

    node: int
    dcgm: int
    balancer: int
    front: int
    mtail: int
    nginx: int


def monitoring_of(fleet: "Fleet", machine: str) -> MonitoringPlan | None:
    """What a host or a gateway's own machine shows, by its name; None where it shows nothing."""
    spec = fleet.monitoring
    host = fleet.hosts.get(machine)
    own = host.monitoring if host else None
    if spec is None or first_port(fleet, machine) is None:
        return None
    gateways = {at for at, _ in machines_of(fleet).values()} if fleet.gateway else set()
    place = host or fleet.gateways[machine]
    return MonitoringPlan(
        machine=machine,
        address=place.address or machine,
        port=spec.port,
        interval_s=spec.interval_s,
        gpu=(own and own.gpu) or spec.gpu,
        node_exporter=(own and own.node_exporter) or spec.node_exporter,
        monitors=monitor_names(fleet),
        on_host=host is not None,
        is_gateway=machine in gateways,
        environment=Provision(proxy=fleet.proxy).environment,
    )


def monitored_machines(fleet: "Fleet") -> dict[str, MonitoringPlan]:
    """Every machine that shows metrics, by name: the present hosts, and gateways' own machines."""
    hosts = [name for name, spec in fleet.hosts.items() if spec.state == "present"]
    own = [
        name
        for name, spec in fleet.gateways.items()
        if spec.manage and spec.host is None and spec.state == "present"
    ]
    found = {name: monitoring_of(fleet, name) for name in (*hosts, *own)}
    return {name: plan for name, plan in found.items() if plan}


def monitor_names(fleet: "Fleet") -> tuple[str, ...]:
    """Who may look, by the names in their certificates."""
    return tuple(name for name, spec in fleet.monitors.items() if spec.state == "present")


def monitor_addresses(fleet: "Fleet") -> dict[str, tuple[str, str]]:
    """Monitor to its machine's name and address."""
    found = {}
    for name in monitor_names(fleet):
        spec = fleet.monitors[name]
        machine = fleet.hosts[spec.host] if spec.host else spec
        host = spec.host or name
        found[name] = host, machine.address or host
    return found
