"""The gateway: which slices serve each model, how much each takes, and what its machines will be.

Frozen values; `gateways_of` and `hop_of` make them of an inventory. They say what is asked for, not how
it is done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.model_pools import ModelPool, parallel_of, pools_of
from ollama_fleet.planner.provision import Provision
from ollama_fleet.planner.virtual_address import VirtualAddress, virtual_addresses
from ollama_fleet.spec.monitoring_ports import BALANCER, first_port

if TYPE_CHECKING:
    from ollama_fleet.planner.plan import HostPlan
    from ollama_fleet.spec.fleet import Fleet, GatewaySpec


@dataclass(frozen=True)
class Upstream:
    """A slice as gateways see it.

    `name` is unique in the fleet: <host>.<slice>. `address` is how gateways reach its host. `parallel`:
    requests of one model that it serves at the same time; `model` is its first one, if it has any.
    """

    host: str
    slice: str
    address: str
    parallel: int
    model: str | None = None

    @property
    def name(self) -> str:
        """Its name in the balancer, in the access log and for the host's nginx."""
        return f"{self.host}.{self.slice}"


@dataclass(frozen=True)
class TlsPlan:
    """Where the certificate comes from; `certificate` and `key` are paths on the deploying machine."""

    source: str = "internal"
    certificate: str | None = None
    key: str | None = None
    email: str | None = None
    directory: str | None = None


@dataclass(frozen=True)
class GatewayPlan:
    """Everything that one gateway will be; travels to pyinfra as one value of host data.

    `host` is the machine's name, for people, `on_host` whether that is one of the fleet's own hosts.
    It listens on `port` of the address `listen`, or of all. `keys` may call it where it `needs_key`, and
    those that are `revoked`, by name, no more.
    `metrics_port`: where on loopback the balancer shows its metrics, and at the next port nginx, if at all.
    `environment`: what installing its packages sees. `authority`: folder of who signs certificates, on
    the deploying machine. Times are in seconds.
    """

    name: str
    host: str
    on_host: bool
    address: str
    listen: str | None
    port: int
    names: tuple[str, ...]
    tls: TlsPlan
    needs_key: bool
    max_body_mib: int
    wait_s: int
    read_timeout_s: int
    slow_start_s: int
    hop_port: int
    upstreams: tuple[Upstream, ...]
    pools: tuple[ModelPool, ...]
    keys: tuple[ApiKey, ...] = ()
    revoked: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    authority: str = ""
    virtual_address: VirtualAddress | None = None
    metrics_port: int | None = None

    def is_here(self, upstream: Upstream) -> bool:
        """Whether a slice is on the gateway's own machine."""
        return self.on_host and upstream.host == self.host

    @property
    def url(self) -> str:
        """How clients call it: by its first name, else by the address that is meant for them."""
        shared = self.virtual_address.ip if self.virtual_address else None
        host = next(iter(self.names), None) or shared or self.listen or self.address
        shown = f"[{host}]" if ":" in host else host
        scheme, usual = ("http", 80) if self.tls.source == "none" else ("https", 443)
        return f"{scheme}://{shown}" + (f":{self.port}" if self.port != usual else "")


@dataclass(frozen=True)
class HopPlan:
    """A host's part of the gateway: its nginx, through which gateways reach its slices.

    `listen_port` is None where every gateway is on this host; `gateways` are the names of the others.
    `authority`: folder of who signs certificates, on the deploying machine.
    """

    host: str
    address: str
    listen_port: int | None
    gateways: tuple[str, ...]
    is_gateway: bool
    read_timeout_s: int
    authority: str = ""


def gateways_of(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> dict[str, GatewayPlan]:
    """The gateways that we set up, by name; none where the inventory has none."""
    made = _gateways(fleet, plans)
    return {name: plan for name, plan in made.items() if name not in _foreign(fleet)}


def engines_of(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> dict[str, GatewayPlan]:
    """Those that a site has itself (`manage: false`), by name: what they should be."""
    made = _gateways(fleet, plans)
    return {name: plan for name, plan in made.items() if name in _foreign(fleet)}


def _gateways(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> dict[str, GatewayPlan]:
    spec = fleet.gateway
    if spec is None:
        return {}
    upstreams = tuple(_upstreams(fleet, plans))
    pools = tuple(pools_of(plans))
    machines = machines_of(fleet)
    ours = {name: at[1] for name, at in machines.items() if name not in _foreign(fleet)}
    shared = virtual_addresses(spec.virtual_address, ours)
    return {
        name: replace(
            _plan(name, host, address, fleet, spec, upstreams, pools),
            virtual_address=shared.get(name),
        )
        for name, (host, address) in machines.items()
    }


def _foreign(fleet: "Fleet") -> set[str]:
    return {name for name, spec in fleet.gateways.items() if not spec.manage}


def hop_of(fleet: "Fleet", host: str) -> HopPlan | None:
    """A host's part of the gateway; None where the inventory has none."""
    spec = fleet.gateway
    if spec is None:
        return None
    machines = machines_of(fleet)
    others = tuple(name for name, (at, _) in machines.items() if at != host)
    return HopPlan(
        host=host,
        address=fleet.hosts[host].address or host,
        listen_port=spec.hop_port if others else None,
        gateways=others,
        is_gateway=len(others) < len(machines),
        read_timeout_s=spec.read_timeout_s,
    )


def machines_of(fleet: "Fleet") -> dict[str, tuple[str, str]]:
    """Gateway to its machine's name and address."""
    if not fleet.gateways:
        present = {name: spec for name, spec in fleet.hosts.items() if spec.state == "present"}
        return {host: (host, spec.address or host) for host, spec in present.items()}
    found = {}
    for name, spec in fleet.gateways.items():
        if spec.state == "absent":
            continue
        machine = fleet.hosts[spec.host] if spec.host else spec
        host = spec.host or name
        found[name] = host, machine.address or host
    return found


def _plan(
    name: str,
    host: str,
    address: str,
    fleet: "Fleet",
    spec: "GatewaySpec",
    upstreams: tuple[Upstream, ...],
    pools: tuple[ModelPool, ...],
) -> GatewayPlan:
    return GatewayPlan(
        name=name,
        host=host,
        on_host=host in fleet.hosts,
        address=address,
        listen=spec.listen,
        port=spec.port,
        names=tuple(spec.names),
        tls=TlsPlan(**spec.tls.model_dump()),
        needs_key=spec.keys == "required",
        max_body_mib=spec.max_body_mib,
        wait_s=spec.wait_s,
        read_timeout_s=spec.read_timeout_s,
        slow_start_s=spec.slow_start_s,
        hop_port=spec.hop_port,
        upstreams=upstreams,
        pools=pools,
        environment=Provision(proxy=fleet.proxy).environment,
        metrics_port=first + BALANCER if (first := first_port(fleet, host)) else None,
    )


def _upstreams(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> Iterator[Upstream]:
    for name, plan in plans.items():
        address = fleet.hosts[name].address or name
        for item in plan.slices if plan.removal is None else ():
            first = next(iter(item.models), None)
            yield Upstream(name, item.name, address, parallel_of(item), first)
