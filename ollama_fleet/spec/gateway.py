"""What a person writes about the gateway: one address for the whole fleet, and the machines that have it.

Part of `spec`, which says the rest. Much of it ends in configurations of nginx and HAProxy, so the forms
are strict.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from ollama_fleet.spec.addresses import read_ip
from ollama_fleet.spec.firewall import Firewall
from ollama_fleet.spec.gateway_ports import ports_differ
from ollama_fleet.spec.machines import names_of_others, on_hosts
from ollama_fleet.spec.removal import State
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Port, Spec
from ollama_fleet.spec.ssh import Address, Connection, Ssh, SshSpec
from ollama_fleet.spec.virtual_address import VirtualAddressSpec, virtual_address_rules

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

DnsName = Annotated[
    str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
]
# Fixed by ACME itself.
ACME_PORT = 80
Seconds = Annotated[StrictInt, Field(ge=1, le=86_400)]


class TlsSpec(Spec):
    """Where the gateway's certificate comes from."""

    source: Literal["internal", "files", "acme", "none"] = Field(
        "internal",
        description="internal: from the fleet's own authority, made by the first deploy; files: your "
        "own; acme: by certbot; none: plain HTTP, on loopback or with `plain_http: true` only.",
    )
    certificate: str | None = Field(
        None, description="PEM file of the certificate and its chain, beside the inventory (files)."
    )
    key: str | None = Field(
        None, description="PEM file of its private key, beside the inventory (files)."
    )
    email: str | None = Field(None, description="Whom the authority writes to (acme).")
    directory: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9._:/-]+$")] | None = Field(
        None, description="The ACME directory; default: Let's Encrypt's (acme)."
    )


class GatewaySpec(Spec):
    """The one address of the fleet."""

    names: list[DnsName] = Field(
        default=[], description="DNS names under which clients reach it; in its certificate."
    )
    listen: str | None = Field(
        None, description="The one IP address on which it listens; default: all."
    )
    port: Port = Field(443, description="Where it listens.")
    tls: TlsSpec = Field(default=TlsSpec(), description="Its certificate.")
    plain_http: StrictBool = Field(
        False, description="Allow `tls: {source: none}` elsewhere than on loopback."
    )
    keys: Literal["required", "none"] = Field(
        "required", description="Whether callers need an API key (`fleet key add`)."
    )
    max_body_mib: Annotated[StrictInt, Field(ge=1, le=1024)] = Field(
        64, description="Largest request in MiB; it is held in memory."
    )
    wait_s: Seconds = Field(
        60, description="How long a request waits while all slices of its model are busy."
    )
    read_timeout_s: Seconds = Field(
        3600, description="Longest silence of a slice: its longest load, and its longest prompt."
    )
    slow_start_s: Annotated[StrictInt, Field(ge=0, le=3600)] = Field(
        20, description="A slice that has come back gets its full share after so many seconds."
    )
    hop_port: Port = Field(
        11443, description="Where the hosts' nginx listens for gateways, with client certificates."
    )
    virtual_address: VirtualAddressSpec | None = Field(
        None, description="One address that several gateways share; default: each has its own only."
    )

    @model_validator(mode="after")
    def _rules(self) -> "GatewaySpec":
        for error in _gateway_rules(self):
            raise error
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can call it."""
        return self.listen is not None and read_ip(self.listen).is_loopback


class GatewayMachineSpec(Spec):
    """A machine that runs the gateway: one of its own, or one of the hosts."""

    host: str | None = Field(
        None, description="Run it on this one of `hosts`, instead of on a machine of its own."
    )
    manage: StrictBool = Field(
        True,
        description="False: an engine of your own, which hosts let in by its certificate and which is "
        "never touched; `fleet export` writes its configuration.",
    )
    address: Address = None
    connection: Connection = "ssh"
    state: State = "present"
    ssh: Ssh = SshSpec()
    firewall: Firewall = None


def _gateway_rules(spec: GatewaySpec) -> Iterator[PydanticCustomError]:
    """Check the gateway by itself."""
    try:
        read_ip(spec.listen or "::")
    except ValueError:
        yield rule_broken(("listen",), f"'{spec.listen}' is no IP address; leave it out for all")
    yield from _tls_rules(spec)
    if spec.keys == "none" and not spec.is_loopback:
        what = "lets anybody in who reaches it; say `listen: 127.0.0.1`, or keep `keys: required`"
        yield rule_broken(("keys",), what)


def _tls_rules(spec: GatewaySpec) -> Iterator[PydanticCustomError]:
    tls = spec.tls
    if tls.source == "none" and not (spec.is_loopback or spec.plain_http):
        what = (
            "none sends keys and prompts in the clear; say `listen: 127.0.0.1`, or `plain_http: "
            "true` where something else encrypts"
        )
        yield rule_broken(("tls", "source"), what)
    for key in ("certificate", "key"):
        if (getattr(tls, key) is None) == (tls.source == "files"):
            what = "is what `source: files` needs, and only that"
            yield rule_broken(("tls", key), what)
    if tls.source == "acme" and spec.port == ACME_PORT:
        what = "is where the authority looks for challenges (acme); take another, such as 443"
        yield rule_broken(("port",), what)
    if tls.source == "acme" and not spec.names:
        yield rule_broken(("names",), "must say for which names to get a certificate (acme)")


def fleet_gateway_rules(fleet: "Fleet") -> None:
    """Check the fleet's gateways against its hosts and mirrors."""
    for rule in (_has_settings, _has_machines, _machines, ports_differ, virtual_address_rules):
        for error in rule(fleet):
            raise error


def _has_settings(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    if fleet.gateways and fleet.gateway is None:
        yield rule_broken(("gateways",), "need to know what to be; add `gateway: {}`")


def _has_machines(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    if fleet.gateway and not fleet.gateways and len(fleet.hosts) > 1:
        what = (
            "needs machines where the fleet has several hosts; name them under `gateways:`, such "
            f"as `gateways: {{gw1: {{host: {next(iter(fleet.hosts))}}}}}`"
        )
        yield rule_broken(("gateway",), what)


def _machines(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    yield from names_of_others(fleet, "gateways", fleet.gateways)
    yield from on_hosts(fleet, "gateways", fleet.gateways)
