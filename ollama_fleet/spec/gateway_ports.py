"""Ports that the gateway takes on a host, which nothing else there may have.

Part of `spec`, which says the rest; also read by the planner, whose slices keep out of their way.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet.spec.rules import LOADER_PORT, rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet


def gateway_ports(fleet: "Fleet", host: str) -> dict[int, str]:
    """Port to what has it there; empty where the inventory has no gateway."""
    spec = fleet.gateway
    if spec is None:
        return {}
    ours = {name: one for name, one in fleet.gateways.items() if one.state == "present"}
    here = any(one.host == host for one in ours.values()) or not fleet.gateways
    others = any(one.host != host for one in ours.values())
    hop = {spec.hop_port: "the way of the gateways to the slices (`gateway: hop_port`)"}
    return (hop if others else {}) | ({spec.port: "the gateway (`gateway: port`)"} if here else {})


def ports_differ(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A port is one program's on a machine, on whichever address it listens."""
    if fleet.gateway is None:
        return
    for key in ("port", "hop_port"):
        if getattr(fleet.gateway, key) == LOADER_PORT:
            what = f"{LOADER_PORT} is the model loader's on each host; choose another"
            yield rule_broken(("gateway", key), what)
    both = fleet.gateway.port == fleet.gateway.hop_port
    for host, spec in fleet.hosts.items():
        taken = gateway_ports(fleet, host)
        if both and fleet.gateways and any(one.host == host for one in fleet.gateways.values()):
            what = f"{fleet.gateway.port} is the gateway's on {host}; choose another, such as 11443"
            yield rule_broken(("gateway", "hop_port"), what)
        for index, item in enumerate(spec.slices):
            if item.port in taken:
                at = ("hosts", host, "slices", index, "port")
                yield rule_broken(at, f"{item.port} is used by {taken[item.port]}; choose another")
    for name, mirror in fleet.mirrors.items():
        taken = gateway_ports(fleet, mirror.host) if mirror.host else {}
        for port in (mirror.port, mirror.port + 1):
            if port in taken:
                what = f"{port} is used by {taken[port]}; choose another, such as 8480"
                yield rule_broken(("mirrors", name, "port"), what)
