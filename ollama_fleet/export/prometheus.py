"""The fleet for Prometheus' service discovery by files: gateways, hosts and slices with their labels."""

import json
from collections.abc import Iterator
from typing import Any

from ollama_fleet.export.files import Exported, ExportedFile, reached_at, with_port
from ollama_fleet.planner.gateway import Upstream


def prometheus_files(fleet: Exported) -> list[ExportedFile]:
    """One file for `file_sd_configs`; `role` tells apart what a scrape configuration keeps."""
    groups = [*_gateways(fleet), *_hosts(fleet), *_slices(fleet)]
    return [ExportedFile(json.dumps(groups, indent=2, ensure_ascii=False) + "\n")]


def _gateways(fleet: Exported) -> Iterator[dict[str, Any]]:
    for name, plan in fleet.gateways.items():
        yield _group(
            with_port(reached_at(plan), plan.port),
            role="gateway",
            gateway=name,
            host=plan.host,
            scheme="http" if plan.tls.source == "none" else "https",
        )


def _hosts(fleet: Exported) -> Iterator[dict[str, Any]]:
    """The address alone: the port is that of whichever exporter the site runs there."""
    addresses = {item.host: item.address for item in fleet.any.upstreams}
    for host, address in addresses.items():
        slices = [item for item in fleet.any.upstreams if item.host == host]
        yield _group(
            address,
            role="host",
            host=host,
            slices=_listed(item.slice for item in slices),
            gpus=_listed(dict.fromkeys(entry.card for entry in fleet.hosts[host].memory)),
        )


def _slices(fleet: Exported) -> Iterator[dict[str, Any]]:
    for upstream in fleet.any.upstreams:
        server = fleet.slice_of(upstream)
        cards = _cards(fleet, upstream)
        yield _group(
            with_port(upstream.address, fleet.any.hop_port),
            role="slice",
            host=upstream.host,
            slice=upstream.slice,
            upstream=upstream.name,
            unit=server.unit,
            models=_listed(server.models),
            parallel=str(upstream.parallel),
            gpu=cards[0] if cards else "",
            gpu_count=str(len(server.gpus)),
            gpu_indexes=_listed(map(str, server.gpus)),
        )


def _group(target: str, **labels: str) -> dict[str, Any]:
    return {"targets": [target], "labels": {name: text for name, text in labels.items() if text}}


def _cards(fleet: Exported, upstream: Upstream) -> list[str]:
    memory = fleet.hosts[upstream.host].memory
    return [entry.card for entry in memory if entry.owner == upstream.slice]


def _listed(names: Any) -> str:
    """Several values as Prometheus' own discoveries write them: `,a,b,` is matched by `.*,a,.*`."""
    text = ",".join(names)
    return f",{text}," if text else ""
