"""What holds for every machine that runs something for the whole fleet, on a host or by itself."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet.spec.rules import rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet
    from ollama_fleet.spec.gateway import GatewayMachineSpec
    from ollama_fleet.spec.monitoring import MonitorSpec

# What a host's own entry says of it.
OF_HOST = frozenset({"address", "connection", "ssh", "state", "firewall"})


def names_of_others(
    fleet: "Fleet", key: str, specs: "Mapping[str, GatewayMachineSpec | MonitorSpec]"
) -> Iterator[PydanticCustomError]:
    """A name stands for one machine only. `key` is where `specs` stand in the inventory."""
    for name, spec in specs.items():
        if name in fleet.hosts and spec.host != name:
            what = f"is the name of a host, too; rename it, or say `host: {name}` to run it there"
            yield rule_broken((key, name), what)
        if name in fleet.mirrors:
            yield rule_broken((key, name), "is the name of a mirror, too; rename it")


def on_hosts(
    fleet: "Fleet", key: str, specs: "Mapping[str, GatewayMachineSpec | MonitorSpec]"
) -> Iterator[PydanticCustomError]:
    """Those that run on a host are on one that there is, and say nothing that the host says itself."""
    seen: dict[str, str] = {}
    for name, spec in specs.items():
        at = (key, name)
        if spec.host is None:
            continue
        if not spec.manage:
            what = "false is for machines of your own; drop `host` or `manage`"
            yield rule_broken((*at, "manage"), what)
        for told in sorted(OF_HOST & spec.model_fields_set):
            yield rule_broken((*at, told), f"`hosts.{spec.host}` says it; drop it here")
        if spec.host not in fleet.hosts:
            has = ", ".join(list(fleet.hosts)[:10])
            yield rule_broken((*at, "host"), f"no host is named '{spec.host}'; `hosts:` has {has}")
        elif fleet.hosts[spec.host].state == "absent":
            yield rule_broken((*at, "host"), f"{spec.host} is to be absent; name another machine")
        if spec.host in seen:
            what = f"{spec.host} runs {key[:-1]} '{seen[spec.host]}' already; keep one"
            yield rule_broken((*at, "host"), what)
        seen[spec.host] = name
