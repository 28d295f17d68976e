"""What a person writes about the address that several gateways share. Part of `spec_gateway`."""

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, StrictInt
from pydantic_core import PydanticCustomError

from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Spec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet


def _with_prefix(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        found = None
    if found is None or "/" not in text or "%" in text:
        what = f"'{text}' is no address with its network's prefix; write it like 10.0.0.50/24"
        raise rule_broken((), what)
    if found.ip.is_loopback or found.ip.is_multicast or found.ip.is_unspecified:
        raise rule_broken((), f"{found.ip} can be no machine's address on a network; take another")
    return str(found)


class VirtualAddressSpec(Spec):
    """One address for several gateways: keepalived keeps it on one of those that answer."""

    address: Annotated[str, AfterValidator(_with_prefix)] = Field(
        description="The address with its network's prefix, such as 10.0.0.50/24; no machine's own."
    )
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")] | None = Field(
        None,
        description="Network interface of the gateways; default: the one with the machine's own address.",
    )
    router_id: Annotated[StrictInt, Field(ge=1, le=255)] = Field(
        50, description="VRRP's number of the group; another one for each group on one network."
    )


def virtual_address_rules(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """Check the shared address against the gateways that are to have it."""
    spec = fleet.gateway
    if spec is None or spec.virtual_address is None:
        return
    at = ("gateway", "virtual_address")
    own = {
        name: one for name, one in fleet.gateways.items() if one.manage and one.state == "present"
    }
    if len(own) < 2:
        what = f"moves between gateways, and there is {len(own) or 1}; name two under `gateways:`, or drop it"
        yield rule_broken(at, what)
    if spec.listen is not None:
        what = (
            "keeps the gateways from the shared address; drop it where there is `virtual_address`"
        )
        yield rule_broken(("gateway", "listen"), what)
    shared = ipaddress.ip_interface(spec.virtual_address.address).ip
    for name, one in own.items():
        machine = fleet.hosts.get(one.host or "", one)
        yield from _machine_rules(name, one.host, machine.address, shared)


def _machine_rules(
    name: str,
    host: str | None,
    address: str | None,
    shared: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> Iterator[PydanticCustomError]:
    at = ("hosts", host, "address") if host else ("gateways", name, "address")
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        said = f"'{address}' is a name" if address else "is missing"
        what = f"{said}, and gateways with a virtual address know each other by number; write the IP address"
        yield rule_broken(at, what)
        return
    if found == shared:
        what = (
            f"is the virtual address {shared} itself; write the machine's own, which stays with it"
        )
        yield rule_broken(at, what)
    elif found.version != shared.version:
        what = f"{found} is IPv{found.version} and the virtual address IPv{shared.version}; take one kind"
        yield rule_broken(at, what)
