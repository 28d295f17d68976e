"""What every export is made of and becomes: the fleet as engines see it, files, and why there are none."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from ollama_fleet.planner.gateway import GatewayPlan, Upstream
from ollama_fleet.planner.plan import HostPlan, SlicePlan


@dataclass(frozen=True)
class ExportedFile:
    """A file to be written; `suffix` is where its name differs from the first one's. `name`: its path, of
    those that are written into a folder."""

    text: str
    suffix: str = ""
    name: str = ""


class ExportError(ValueError):
    """What keeps this inventory from being written for that engine; says what to do."""


@dataclass(frozen=True)
class Exported:
    """A fleet with its gateways: those that we set up, and `engines` of the site's own.

    `hosts` are its hosts' plans. Pools and slices are the same in all of them.
    """

    gateways: Mapping[str, GatewayPlan]
    engines: Mapping[str, GatewayPlan]
    hosts: Mapping[str, HostPlan]

    @property
    def any(self) -> GatewayPlan:
        """One of them, for what all have in common."""
        return next(iter({**self.engines, **self.gateways}.values()))

    def slice_of(self, upstream: Upstream) -> SlicePlan:
        """The planned server behind an upstream."""
        servers = self.hosts[upstream.host].slices
        return next(item for item in servers if item.name == upstream.slice)


def require_gateway(fleet: Exported, where: str) -> None:
    """Refuse an inventory whose hosts let nobody in."""
    if not fleet.gateways and not fleet.engines:
        raise ExportError(
            f"{where} has no gateway, so its slices listen on their hosts' loopback only and no engine "
            "reaches them; add `gateway: {}` and, for an engine of your own, "
            "`gateways: {lb1: {address: 10.0.0.5, manage: false}}`"
        )


def require_open_hops(fleet: Exported) -> None:
    """Refuse a fleet whose hosts are reached from themselves only."""
    for upstream in fleet.any.upstreams:
        hop = fleet.hosts[upstream.host].hop
        if hop is None or hop.listen_port is None:
            raise ExportError(
                f"{upstream.host} listens for no other machine, because the only gateway runs on it; "
                "name your engine as well: `gateways: {lb1: {address: 10.0.0.5, manage: false}}`"
            )


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address as a number; None for a name."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def with_port(address: str, port: int) -> str:
    """`address:port`, in brackets where that needs them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def reached_at(plan: GatewayPlan) -> str:
    """The address at which clients reach a gateway itself."""
    listen = ip_of(plan.listen or "")
    return str(listen) if listen and not listen.is_loopback else plan.address
