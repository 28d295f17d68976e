"""The address that several gateways share, as each of them sees it. A frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ollama_fleet.spec.virtual_address import VirtualAddressSpec

# VRRP's highest is 255, which says that the address is the machine's own.
FIRST_PRIORITY, STEP = 200, 10


@dataclass(frozen=True)
class VirtualAddress:
    """What keepalived on one gateway is to do.

    `address` has its prefix. `interface` is None where the machine finds it by its own address, `own`.
    `peers` are the other gateways' addresses. Of gateways that answer, the one with the highest
    `priority` gets the address when nobody has it.
    """

    address: str
    interface: str | None
    router_id: int
    priority: int
    own: str
    peers: tuple[str, ...]

    @property
    def ip(self) -> str:
        """The address alone."""
        return self.address.partition("/")[0]


def virtual_addresses(
    spec: "VirtualAddressSpec | None", addresses: Mapping[str, str]
) -> dict[str, VirtualAddress]:
    """Gateway to its part in the shared address; `addresses` are the gateways' own, in their order."""
    if spec is None:
        return {}
    return {
        name: VirtualAddress(
            address=spec.address,
            interface=spec.interface,
            router_id=spec.router_id,
            priority=max(1, FIRST_PRIORITY - STEP * order),
            own=own,
            peers=tuple(other for other in addresses.values() if other != own),
        )
        for order, (name, own) in enumerate(addresses.items())
    }
