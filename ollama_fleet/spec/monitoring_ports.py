"""Ports that monitoring takes on a machine, which nothing else there may have.

Part of `spec`, which says the rest; also read by the planner, whose slices keep out of their way.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet.spec.gateway_ports import gateway_ports
from ollama_fleet.spec.rules import FIRST_RESERVED_PORT, LOADER_PORT, rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

# The door for monitors, and behind it on loopback the node exporter, DCGM's, the balancer's, what the
# gateway's nginx says of itself, mtail, and the exporter of that nginx.
PORTS = 7
# From the door on, the balancer's.
BALANCER = 3
LAST_PORT = FIRST_RESERVED_PORT - PORTS


def monitoring_ports(fleet: "Fleet", host: str) -> dict[int, str]:
    """Port to what of monitoring has it on a host."""
    first = first_port(fleet, host)
    if fleet.monitoring is None:
        return {}
    door = "the metrics (`monitoring: port`)"
    taken = dict.fromkeys(range(first, first + PORTS), door) if first else {}
    looks = {
        one.port: f"monitor {name} (`monitors.{name}.port`)"
        for name, one in fleet.monitors.items()
        if one.host == host
    }
    return taken | looks


def first_port(fleet: "Fleet", machine: str) -> int | None:
    """Where a host or a gateway's own machine shows its metrics; None where it shows none."""
    own = fleet.hosts[machine].monitoring if machine in fleet.hosts else None
    shows = fleet.monitoring is not None and (own is None or own.manage)
    return fleet.monitoring.port if fleet.monitoring and shows else None


def taken_ports(fleet: "Fleet", host: str) -> dict[int, str]:
    """Port to what of the fleet has it on a host beside slices and mirrors."""
    return gateway_ports(fleet, host) | monitoring_ports(fleet, host)


def monitoring_ports_differ(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A port is one program's on a machine, on whichever address it listens."""
    if fleet.monitoring is None:
        return
    yield from _beside_the_loader(fleet)
    for host, spec in fleet.hosts.items():
        taken = monitoring_ports(fleet, host)
        for port, who in gateway_ports(fleet, host).items():
            if port in taken:
                what = f"{port} is used by {who} on {host}; choose another"
                yield rule_broken(_place(fleet, port, host), what)
        for index, item in enumerate(spec.slices):
            if item.port in taken:
                at = ("hosts", host, "slices", index, "port")
                yield rule_broken(at, f"{item.port} is used by {taken[item.port]}; choose another")
    yield from _beside_mirrors(fleet)
    yield from _on_gateways(fleet)


def _beside_the_loader(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    assert fleet.monitoring
    ours = range(fleet.monitoring.port, fleet.monitoring.port + PORTS)
    if LOADER_PORT in ours:
        what = f"{LOADER_PORT} is the model loader's on each host; choose another, such as 19100"
        yield rule_broken(("monitoring", "port"), what)
    for name, spec in fleet.monitors.items():
        taken = {LOADER_PORT: "the model loader"} if spec.host else {}
        door = dict.fromkeys(ours, "the metrics (`monitoring: port`)")
        if spec.manage and spec.port in taken | door:
            what = f"{spec.port} is used by {(taken | door)[spec.port]}; choose another"
            yield rule_broken(("monitors", name, "port"), what)


def _beside_mirrors(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    for name, mirror in fleet.mirrors.items():
        taken = monitoring_ports(fleet, mirror.host) if mirror.host in fleet.hosts else {}
        for port in (mirror.port, mirror.port + 1):
            if port in taken:
                what = f"{port} is used by {taken[port]}; choose another, such as 8480"
                yield rule_broken(("mirrors", name, "port"), what)


def _on_gateways(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A gateway's own machine shows its metrics, too."""
    assert fleet.monitoring
    first = fleet.monitoring.port
    own = any(one.host is None and one.manage for one in fleet.gateways.values())
    if fleet.gateway and own and fleet.gateway.port in range(first, first + PORTS):
        what = f"{fleet.gateway.port} is used by the gateway (`gateway: port`); choose another"
        yield rule_broken(("monitoring", "port"), what)


def _place(fleet: "Fleet", port: int, host: str) -> tuple[str, ...]:
    for name, spec in fleet.monitors.items():
        if spec.host == host and spec.port == port:
            return "monitors", name, "port"
    return "monitoring", "port"
