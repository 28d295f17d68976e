"""What a person writes about the hosts' firewall. Part of `spec`, which says the rest."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from ollama_fleet.spec.addresses import read_network
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Port, Spec


def _network(text: str) -> str:
    try:
        return str(read_network(text))
    except ValueError:
        what = f"'{text}' is no address or network; write it like 10.0.0.0/24 or 2001:db8::1"
        raise rule_broken((), what) from None


Network = Annotated[str, AfterValidator(_network)]


class AllowSpec(Spec):
    """A port that stays open on a closed host."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    port: Port = Field(description="The port.")
    protocol: Literal["tcp", "udp"] = Field("tcp", description="Of which protocol.")
    sources: list[Network] = Field(
        default=[], alias="from", description="Networks that may reach it; default: all."
    )


class FirewallSpec(Spec):
    """A host firewall by nftables: one table of ours, beside whatever else is there."""

    mode: Literal["off", "ports", "closed"] = Field(
        "ports",
        description="off: none; ports: only gateways reach the ports that the hosts open for them, "
        "nothing else changes; closed: nothing is reachable but SSH, what the fleet needs and `allow:`.",
    )
    allow: list[AllowSpec] = Field(
        default=[],
        description="Further ports of a closed host. In `ports`: further networks for a port that it "
        "guards, such as the address from which a gateway behind NAT comes.",
    )
    gateway_from: list[Network] = Field(
        default=[], description="Networks that may reach the gateway's port; default: all."
    )
    ssh_from: list[Network] = Field(
        default=[], description="Networks that may reach SSH on a closed host; default: all."
    )

    @model_validator(mode="after")
    def _rules(self) -> "FirewallSpec":
        if self.mode == "off" and self.allow:
            what = "closes nothing that `allow:` could open; drop that, or say `mode: closed`"
            raise rule_broken(("mode",), what)
        if self.mode != "closed" and self.ssh_from:
            what = f"is for `mode: closed`; `{self.mode}` leaves SSH alone"
            raise rule_broken(("ssh_from",), what)
        return self


Firewall = Annotated[
    FirewallSpec | None,
    Field(
        description="Host firewall. Default: `{mode: ports}` where gateways come from other machines, "
        "else none. Keys that a host says go before the fleet's."
    ),
]
