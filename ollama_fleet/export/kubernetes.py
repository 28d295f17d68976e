"""The gateways and the hosts as Services of a cluster beside the fleet.

Services without selector, and EndpointSlices that name the machines: what a cluster has for things
outside of it.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from ollama_fleet.export.files import Exported, ExportedFile, ExportError, ip_of, reached_at
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.templating import MARKER, render

NAME = "ollama"
MANAGED_BY = "ollama-fleet"


def kubernetes_files(fleet: Exported, namespace: str) -> list[ExportedFile]:
    """Manifests for `kubectl apply -f`."""
    objects = [*_gateway_objects(fleet, namespace), *_hop_objects(fleet, namespace)]
    if not objects:
        raise ExportError(
            "the only gateway listens on loopback, so no cluster reaches it; drop `gateway: {listen}`"
        )
    header = render(
        "export/kubernetes.yml.j2",
        marker=MARKER.replace("Managed by", "Written by"),
        fleet=fleet,
        plan=fleet.any,
        name=NAME,
        names=(f"{NAME}.{namespace}.svc", f"{NAME}.{namespace}.svc.cluster.local"),
        namespace=namespace,
    )
    body = yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, allow_unicode=True)
    return [ExportedFile(header + body)]


def _gateway_objects(fleet: Exported, namespace: str) -> Iterator[dict[str, Any]]:
    plans = [plan for plan in fleet.gateways.values() if not _is_loopback(plan)]
    if not plans:
        return
    addresses = _addresses(plans)
    port = plans[0].port
    if len(addresses) == 1 and ip_of(addresses[0]) is None:
        yield _object("v1", "Service", NAME, namespace) | {
            "spec": {"type": "ExternalName", "externalName": addresses[0]}
        }
        return
    scheme = "http" if plans[0].tls.source == "none" else "https"
    yield from _service(NAME, namespace, scheme, port, port, addresses, headless=False)


def _is_loopback(plan: GatewayPlan) -> bool:
    listen = ip_of(plan.listen or "")
    return listen is not None and listen.is_loopback


def _addresses(plans: list[GatewayPlan]) -> list[str]:
    """The one that moves to a living gateway, else all of them."""
    shared = plans[0].virtual_address
    return [shared.ip] if shared else [reached_at(plan) for plan in plans]


def _hop_objects(fleet: Exported, namespace: str) -> Iterator[dict[str, Any]]:
    """For an engine in the cluster that balances by itself."""
    taken: set[str] = {NAME}
    for host, address in {item.host: item.address for item in fleet.any.upstreams}.items():
        hop = fleet.hosts[host].hop
        if hop is None or hop.listen_port is None:
            continue
        name = _label(f"{NAME}-hop-{host}", taken)
        port = hop.listen_port
        yield from _service(name, namespace, "https", port, port, [address], headless=True)


def _service(
    name: str,
    namespace: str,
    scheme: str,
    port: int,
    target: int,
    addresses: list[str],
    *,
    headless: bool,
) -> Iterator[dict[str, Any]]:
    ports = {"name": scheme, "protocol": "TCP", "appProtocol": scheme}
    yield _object("v1", "Service", name, namespace) | {
        "spec": {
            **({"clusterIP": "None"} if headless else {}),
            "ports": [{**ports, "port": port, "targetPort": target}],
        }
    }
    yield _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        name,
        namespace,
        {"kubernetes.io/service-name": name},
    ) | {
        "addressType": _address_type(name, addresses),
        "ports": [{**ports, "port": target}],
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
    }


def _address_type(name: str, addresses: list[str]) -> str:
    found = {address: ip_of(address) for address in addresses}
    for address, number in found.items():
        if number is None:
            raise ExportError(
                f"'{address}' is a name, and Kubernetes takes only numbers as endpoints ({name}); write its "
                "IP address in the inventory"
            )
        if number.is_loopback or number.is_link_local:
            raise ExportError(
                f"{address} means another machine on each node of a cluster ({name}); write the address in "
                "the inventory at which others reach it"
            )
    kinds = {f"IPv{number.version}" for number in found.values() if number}
    if len(kinds) > 1:
        raise ExportError(f"{', '.join(addresses)} are of two kinds; Kubernetes takes one of them")
    return kinds.pop()


def _object(
    version: str, kind: str, name: str, namespace: str, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    managed = {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        **({"endpointslice.kubernetes.io/managed-by": MANAGED_BY} if labels else {}),
    }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {**managed, **(labels or {})}},
    }


def _label(text: str, taken: set[str]) -> str:
    """`text` as a Service's name, which has 63 small letters, digits and dashes; no two alike."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    if name in taken or (len(text) > 63):
        name = f"{name[:54].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    taken.add(name)
    return name
