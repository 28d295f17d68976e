"""The pools as backends of a HAProxy that a site has: what our own balancer does, over the network."""

from collections.abc import Iterator

from ollama_fleet.export.files import (
    Exported,
    ExportedFile,
    ip_of,
    require_open_hops,
    with_port,
)
from ollama_fleet.templating import MARKER, render


def haproxy_files(fleet: Exported, certificates: str) -> list[ExportedFile]:
    """A configuration to be loaded beside the site's own, and the map of models to its backends.

    `certificates` is the folder of `hop.pem` and `hop-ca.pem` on the engine's machine.
    """
    require_open_hops(fleet)
    plan = fleet.any
    upstreams = {item.name: item for item in plan.upstreams}
    lines = list(_map_lines(fleet))
    text = render(
        "export/haproxy.cfg.j2",
        marker=MARKER.replace("Managed by", "Written by"),
        plan=plan,
        upstreams=upstreams,
        places={
            name: with_port(item.address, plan.hop_port) + _unless_number(item.address)
            for name, item in upstreams.items()
        },
        certificates=certificates.rstrip("/"),
        engine=next(iter(fleet.engines), None),
        map_lines=lines,
    )
    return [ExportedFile(text), ExportedFile("".join(f"{line}\n" for line in lines), ".map")]


def _unless_number(address: str) -> str:
    """A name that is not known yet must not keep HAProxy from starting."""
    return "" if ip_of(address) else " init-addr last,libc,none"


def _map_lines(fleet: Exported) -> Iterator[str]:
    """Model as clients write it, and its backend: `:latest` may be left out."""
    for pool in fleet.any.pools:
        yield f"{pool.model} {pool.name}"
        if pool.model.endswith(":latest"):
            yield f"{pool.model.removesuffix(':latest')} {pool.name}"
