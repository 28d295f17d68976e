"""Where the machine that a person sits at fetches from: what a fleet's own mirrors fetch from themselves.

Such a mirror may not run yet, or have nothing but the bundle that is being made. Knows the inventory,
and nothing of what is fetched.
"""

from typing import Any

from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.spec.mirrors import NO_MIRROR


def with_originals(fleet: Fleet) -> Fleet:
    """The fleet as if its hosts fetched past the mirrors that we set up. What names an address itself
    stays, and so do mirrors that are somebody else's."""
    hosts = {name: _past_mirror(fleet, spec) for name, spec in fleet.hosts.items()}
    return fleet.model_copy(update={"hosts": hosts})


def _past_mirror(fleet: Fleet, spec: HostSpec) -> HostSpec:
    chosen = spec.mirror or fleet.mirror or next(iter(fleet.mirrors), None)
    mirror = fleet.mirrors.get(chosen or "")
    if mirror is None or not mirror.manage:
        return spec
    up = mirror.upstreams
    wanted: dict[str, dict[str, str]] = {
        "ollama": {"release_url": up.releases, "registry": up.models},
        "driver": {"repository": up.driver},
        "container_toolkit": {"repository": up.container_toolkit},
    }
    said: dict[str, Any] = {"mirror": NO_MIRROR}
    for block, addresses in wanted.items():
        own, common = getattr(spec, block), getattr(fleet, block)
        missing = {
            key: address.rstrip("/")
            for key, address in addresses.items()
            if getattr(own, key) is None and getattr(common, key) is None
        }
        said[block] = own.model_copy(update=missing)
    return spec.model_copy(update=said)
