"""The firewall of one machine: which ports are guarded there, and who may reach them.

Frozen values; `firewall_of` makes them of an inventory. They say what is asked for, not how it is done.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ollama_fleet.planner.gateway import machines_of
from ollama_fleet.planner.mirror import mirrors_of
from ollama_fleet.planner.monitoring import monitor_addresses, monitoring_of
from ollama_fleet.planner.provision import Provision

if TYPE_CHECKING:
    from ollama_fleet.spec.firewall import FirewallSpec
    from ollama_fleet.spec.fleet import Fleet, GatewaySpec

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
LOOPBACK_SOURCES = tuple(map(str, LOOPBACK))
ANYWHERE: tuple[str, ...] = ()
ACME_PORT = 80


@dataclass(frozen=True)
class Opening:
    """A port and who may reach it: networks, or names that the host itself resolves; ANYWHERE: all."""

    port: int
    sources: tuple[str, ...] = ANYWHERE
    protocol: str = "tcp"


@dataclass(frozen=True)
class FirewallPlan:
    """A machine's firewall. `mode`: off, ports (only the ports of `openings` are guarded) or closed
    (nothing else is reachable, but SSH). `ssh_from`: who may reach SSH, ANYWHERE: all. `vrrp_from`:
    gateways with which it shares an address. `environment`: what installing its package sees.
    """

    mode: str = "off"
    openings: tuple[Opening, ...] = ()
    ssh_from: tuple[str, ...] = ANYWHERE
    vrrp_from: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Sources that are no numbers."""
        sources = [*self.vrrp_from, *(one for item in self.openings for one in item.sources)]
        return tuple(sorted({one for one in sources if not is_number(one)}))


def is_number(source: str) -> bool:
    """Whether it is an address or a network, not a name."""
    try:
        ipaddress.ip_network(source, strict=False)
    except ValueError:
        return False
    return True


def firewall_of(fleet: "Fleet", machine: str) -> FirewallPlan:
    """The firewall of a host, or of a mirror's or gateway's own machine, by its name."""
    spec = _spec(fleet, machine)
    mode = spec.mode if spec else "ports"
    found = _openings(fleet, machine, spec, closed=mode == "closed")
    openings = tuple(_merged([*found, *_allowed(spec, found, mode)]))
    if mode == "ports":
        openings = tuple(item for item in openings if item.sources != ANYWHERE)
    if mode == "off" or (mode == "ports" and not openings):
        return FirewallPlan()
    closed = mode == "closed"
    return FirewallPlan(
        mode=mode,
        openings=openings,
        ssh_from=tuple(spec.ssh_from) if spec and closed else ANYWHERE,
        vrrp_from=tuple(_partners(fleet, machine)) if closed else (),
        environment=Provision(proxy=fleet.proxy).environment,
    )


def _spec(fleet: "Fleet", machine: str) -> "FirewallSpec | None":
    """What the machine says over what the fleet says; None where neither says anything."""
    own = fleet.hosts.get(machine) or fleet.gateways.get(machine) or fleet.monitors.get(machine)
    said = own.firewall if own else None
    if fleet.firewall is None or said is None:
        return said or fleet.firewall
    return fleet.firewall.model_copy(
        update={key: getattr(said, key) for key in said.model_fields_set}
    )


def _openings(
    fleet: "Fleet", machine: str, spec: "FirewallSpec | None", closed: bool
) -> list[Opening]:
    """What the fleet itself needs of this machine. Mirrors and open gateways need no guarding."""
    gateway_from = tuple(spec.gateway_from) if spec else ANYWHERE
    found = [*_hop(fleet, machine), *_gateway(fleet, machine, gateway_from)]
    found += _metrics(fleet, machine)
    return [*found, *_mirror(fleet, machine), *_monitor(fleet, machine)] if closed else found


def _allowed(spec: "FirewallSpec | None", found: Sequence[Opening], mode: str) -> Iterator[Opening]:
    guarded = {(item.protocol, item.port) for item in found}
    for item in spec.allow if spec else ():
        if mode == "closed" or (item.protocol, item.port) in guarded:
            yield Opening(item.port, tuple(item.sources), item.protocol)


def _merged(openings: Sequence[Opening]) -> Iterator[Opening]:
    """One opening for each port, ANYWHERE where one of them says so; in a stable order."""
    sources: dict[tuple[str, int], list[tuple[str, ...]]] = {}
    for item in openings:
        sources.setdefault((item.protocol, item.port), []).append(item.sources)
    for (protocol, port), groups in sorted(sources.items()):
        every = () if ANYWHERE in groups else sorted({one for group in groups for one in group})
        yield Opening(port, tuple(every), protocol)


def _hop(fleet: "Fleet", machine: str) -> Iterator[Opening]:
    """The way of gateways on other machines to this host's slices."""
    if fleet.gateway is None or machine not in fleet.hosts:
        return
    others = tuple(address for at, address in _gateways(fleet) if at != machine)
    if others:
        yield Opening(fleet.gateway.hop_port, others)


def _gateway(fleet: "Fleet", machine: str, sources: tuple[str, ...]) -> Iterator[Opening]:
    spec = fleet.gateway
    if spec is None or spec.is_loopback or machine not in {at for at, _ in _gateways(fleet)}:
        return
    yield Opening(spec.port, sources)
    if spec.tls.source == "acme":
        yield Opening(ACME_PORT)


def _mirror(fleet: "Fleet", machine: str) -> Iterator[Opening]:
    for mirror in mirrors_of(fleet).values():
        if mirror.host == machine:
            yield Opening(mirror.port, tuple(one for one in mirror.allow if not _is_loopback(one)))


def _metrics(fleet: "Fleet", machine: str) -> Iterator[Opening]:
    """What the machine shows, for monitors on other machines; nobody else gets there."""
    known = machine in fleet.hosts or machine in fleet.gateways
    shown = monitoring_of(fleet, machine) if known else None
    if shown is None:
        return
    looks = tuple(address for at, address in monitor_addresses(fleet).values() if at != machine)
    # Nobody's address is no address at all: where all monitors are here, none comes from outside.
    yield Opening(shown.port, looks or LOOPBACK_SOURCES)


def _monitor(fleet: "Fleet", machine: str) -> Iterator[Opening]:
    for name, (at, _) in monitor_addresses(fleet).items():
        if at == machine and not fleet.monitors[name].is_loopback:
            yield Opening(fleet.monitors[name].port)


def _is_loopback(source: str) -> bool:
    network = ipaddress.ip_network(source, strict=False)
    return any(network.version == own.version and network.subnet_of(own) for own in LOOPBACK)  # type: ignore[arg-type]


def _partners(fleet: "Fleet", machine: str) -> Iterator[str]:
    """Other gateways, where they share an address and this machine is one of them."""
    gateways = _gateways(fleet)
    if _shares_address(fleet.gateway) and machine in {at for at, _ in gateways}:
        yield from (address for at, address in gateways if at != machine)


def _shares_address(spec: "GatewaySpec | None") -> bool:
    return bool(getattr(spec, "virtual_address", None))


def _gateways(fleet: "Fleet") -> list[tuple[str, str]]:
    """Each gateway's machine and how others reach it."""
    return list(machines_of(fleet).values()) if fleet.gateway else []
