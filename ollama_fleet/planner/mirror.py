"""Mirrors: which one a host fetches through, and what each of them will be.

Frozen values; `mirrors_of` and `mirror_url` make them of an inventory. They say what is asked for, not
how it is done.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ollama_fleet.planner.provision import Provision
from ollama_fleet.sources import PUBLIC, Sources

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec
    from ollama_fleet.spec.mirrors import MirrorSpec

LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True)
class MirrorPlan:
    """Everything that one mirror will be; travels to pyinfra as one value of host data.

    `host` is the machine's name, for people. `url` is how hosts reach it; it listens on `port` of the
    address `listen`, or of all. `allow` are the networks that may fetch. `folder` is served before the
    cache; with `offline` nothing else is. `environment`: what installing its packages sees.
    """

    name: str
    host: str
    url: str
    port: int = 8480
    listen: str | None = None
    cache_path: str = "/var/cache/ollama-fleet"
    max_gib: int = 500
    allow: tuple[str, ...] = LOOPBACK
    upstreams: Sources = PUBLIC
    folder: str | None = None
    offline: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_url(self) -> str:
        """How the mirror's machine reaches it."""
        return f"http://{_bracketed(self.listen or '127.0.0.1')}:{self.port}"


def mirrors_of(fleet: "Fleet") -> dict[str, MirrorPlan]:
    """The mirrors that we set up, by name."""
    proxy = Provision(proxy=fleet.proxy)
    return {
        name: _plan(name, spec, fleet, proxy.environment)
        for name, spec in fleet.mirrors.items()
        if spec.manage
    }


def mirror_url(fleet: "Fleet", spec: "HostSpec") -> str | None:
    """Address of the mirror that a host fetches through; None without one."""
    chosen = spec.mirror or fleet.mirror or next(iter(fleet.mirrors), None)
    return _url(chosen, fleet.mirrors[chosen], fleet) if chosen in fleet.mirrors else None


def _plan(
    name: str, spec: "MirrorSpec", fleet: "Fleet", environment: Mapping[str, str]
) -> MirrorPlan:
    address = _address(name, spec, fleet)
    own = [one for one in (spec.listen, address) if one and _is_number(one)]
    return MirrorPlan(
        name=name,
        host=spec.host or name,
        url=_url(name, spec, fleet),
        port=spec.port,
        listen=spec.listen,
        cache_path=spec.cache.path,
        max_gib=spec.cache.max_gib,
        allow=tuple(dict.fromkeys([*spec.allow, *LOOPBACK, *own])),
        upstreams=Sources(**{key: url.rstrip("/") for key, url in vars(spec.upstreams).items()}),
        folder=spec.folder,
        offline=spec.offline,
        environment=environment,
    )


def _url(name: str, spec: "MirrorSpec", fleet: "Fleet") -> str:
    if spec.url:
        return spec.url.rstrip("/")
    return f"http://{_bracketed(_address(name, spec, fleet))}:{spec.port}"


def _address(name: str, spec: "MirrorSpec", fleet: "Fleet") -> str:
    """Name or address of its machine."""
    machine = fleet.hosts[spec.host] if spec.host else spec
    return machine.address or spec.host or name


def _is_number(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
