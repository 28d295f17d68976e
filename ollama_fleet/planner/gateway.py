"""The gateway: which slices serve each model, how much each takes, and what its machines will be.

Frozen values; `gateways_of` and `hop_of` make them of an inventory. They say what is asked for, not how
it is done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ollama_fleet.catalogue import Model, find_gpu, find_model
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.provision import Provision
from ollama_fleet.spec_known import full_model_name
from ollama_fleet.speed import decode_speed

if TYPE_CHECKING:
    from ollama_fleet.planner.plan import HostPlan, SlicePlan
    from ollama_fleet.spec import Fleet, GatewaySpec

# HAProxy's weights.
MOST, UNKNOWN_SPEED = 256, 100


@dataclass(frozen=True)
class Upstream:
    """A slice as gateways see it.

    `name` is unique in the fleet: <host>.<slice>. `address` is how gateways reach its host. `parallel`:
    requests of one model that it serves at the same time.
    """

    host: str
    slice: str
    address: str
    parallel: int

    @property
    def name(self) -> str:
        """Its name in the balancer, in the access log and for the host's nginx."""
        return f"{self.host}.{self.slice}"


@dataclass(frozen=True)
class Member:
    """A slice in a pool; `weight` (1 to 256) is its estimated speed against the pool's fastest."""

    upstream: str
    parallel: int
    weight: int


@dataclass(frozen=True)
class ModelPool:
    """All slices that serve one model; `model` is its full name, with the tag."""

    model: str
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Its name in the balancer."""
        return f"model.{plain_name(self.model)}"


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
    It listens on `port` of the address `listen`, or of all. `environment`: what installing its packages
    sees. Times are in seconds.
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
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_here(self, upstream: Upstream) -> bool:
        """Whether a slice is on the gateway's own machine."""
        return self.on_host and upstream.host == self.host


@dataclass(frozen=True)
class HopPlan:
    """A host's part of the gateway: its nginx, through which gateways reach its slices, and its health.

    `listen_port` is None where every gateway is on this host; `gateways` are the names of the others.
    """

    host: str
    address: str
    listen_port: int | None
    gateways: tuple[str, ...]
    is_gateway: bool
    every_s: int
    timeout_s: int
    busy_timeout_s: int
    read_timeout_s: int


def gateways_of(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> dict[str, GatewayPlan]:
    """The gateways by name; none where the inventory has none."""
    spec = fleet.gateway
    if spec is None:
        return {}
    upstreams = tuple(_upstreams(fleet, plans))
    pools = tuple(_pools(plans))
    return {
        name: _plan(name, host, address, fleet, spec, upstreams, pools)
        for name, (host, address) in _machines(fleet).items()
    }


def hop_of(fleet: "Fleet", host: str) -> HopPlan | None:
    """A host's part of the gateway; None where the inventory has none."""
    spec = fleet.gateway
    if spec is None:
        return None
    machines = _machines(fleet)
    others = tuple(name for name, (at, _) in machines.items() if at != host)
    return HopPlan(
        host=host,
        address=fleet.hosts[host].address or host,
        listen_port=spec.hop_port if others else None,
        gateways=others,
        is_gateway=len(others) < len(machines),
        every_s=spec.health.every_s,
        timeout_s=spec.health.timeout_s,
        busy_timeout_s=spec.health.busy_timeout_s,
        read_timeout_s=spec.read_timeout_s,
    )


def plain_name(text: str) -> str:
    """`text` as a name in the balancer's configuration; different texts stay different."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found.group()):02x}", text)


def _machines(fleet: "Fleet") -> dict[str, tuple[str, str]]:
    """Gateway to its machine's name and address."""
    if not fleet.gateways:
        return {host: (host, spec.address or host) for host, spec in fleet.hosts.items()}
    found = {}
    for name, spec in fleet.gateways.items():
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
    )


def _upstreams(fleet: "Fleet", plans: Mapping[str, "HostPlan"]) -> Iterator[Upstream]:
    for name, plan in plans.items():
        if plan.removal is None:
            for item in plan.slices:
                yield Upstream(name, item.name, fleet.hosts[name].address or name, _parallel(item))


def _pools(plans: Mapping[str, "HostPlan"]) -> Iterator[ModelPool]:
    """One pool per model, in the order of the models' names."""
    found: dict[str, list[tuple[str, int, float | None]]] = {}
    for name, plan in plans.items():
        for item in plan.slices if plan.removal is None else ():
            for model in map(full_model_name, item.models):
                speed = _tokens_per_s(model, item, plan.memory)
                found.setdefault(model, []).append((f"{name}.{item.name}", _parallel(item), speed))
    for model in sorted(found):
        rows = found[model]
        weights = _weights([speed for _, _, speed in rows])
        yield ModelPool(
            model,
            tuple(
                Member(upstream, parallel, weight)
                for (upstream, parallel, _), weight in zip(rows, weights, strict=True)
            ),
        )


def _weights(speeds: Sequence[float | None]) -> list[int]:
    """Of slices in one pool; alike where one's speed is unknown."""
    known = [speed for speed in speeds if speed]
    if len(known) < len(speeds):
        return [UNKNOWN_SPEED] * len(speeds)
    return [max(1, round(MOST * speed / max(known))) for speed in known]


def _tokens_per_s(model: str, item: "SlicePlan", memory: Iterable[GpuMemory]) -> float | None:
    """Estimated decode speed on the slice's GPUs; None where model or GPU are unknown."""
    own = [entry for entry in memory if entry.owner == item.name]
    try:
        shape = find_model(model.removesuffix(":latest"))
        speeds = [_speed_on(shape, entry, len(own)) for entry in own]
    except LookupError:
        return None
    return min(speeds, default=None)


def _speed_on(model: Model, entry: GpuMemory, gpus: int) -> float:
    name, profile = split_profile(entry.card)
    card = find_gpu(name)
    share = card.mig_profile(profile).memory_share if profile else 1.0
    return decode_speed(model, card, gpus=gpus, share=share).tokens_per_s


def split_profile(card: str) -> tuple[str, str | None]:
    """`A100-SXM4-40GB 3g.20gb` as card and MIG profile; None for a whole card."""
    name, _, last = card.rpartition(" ")
    return (name, last) if re.fullmatch(r"[1-7]g\.[0-9]+gb\S*", last) else (card, None)


def _parallel(item: "SlicePlan") -> int:
    return int(item.environment["OLLAMA_NUM_PARALLEL"])
