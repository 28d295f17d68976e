"""A base file and a list of machines to an inventory.

The base is an inventory whose hosts are not known yet: `kinds:` says what a host of each kind is, by the
keys that a host has, and `types:` which kind a type of machine has that does not say its own.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ollama_fleet.host_lists.formats import KIND, Listed
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.yamlfile import YamlFile


@dataclass(frozen=True)
class Merged:
    """The inventory's content, and in words what was left out of it."""

    inventory: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def merge(base: YamlFile, listed: Iterable[Listed], source: str) -> Merged:
    """An inventory with a host for each ready machine of a kind. Raises InputError with every problem."""
    kinds, types = _mapping(base, "kinds"), _mapping(base, "types")
    hosts: dict[str, Any] = dict(_mapping(base, "hosts"))
    problems, left_out = [], []
    for machine in sorted(listed, key=lambda item: item.name):
        kind = machine.kind or types.get(machine.type, "")
        if not kind:
            left_out.append(f"{machine.name}: says no {KIND}, and `types:` has no '{machine.type}'")
        elif wrong := _wrong(machine, kind, kinds, hosts):
            problems.append(Problem(source, machine.name, wrong))
        elif machine.state:
            left_out.append(f"{machine.name}: it is {machine.state}")
        else:
            hosts[machine.name] = {"address": machine.address, **copy.deepcopy(kinds[kind])}
    if problems:
        raise InputError(problems)
    rest = {
        key: value for key, value in base.value.items() if key not in ("kinds", "types", "hosts")
    }
    return Merged({**rest, "hosts": hosts}, left_out)


def _wrong(machine: Listed, kind: str, kinds: Mapping[str, Any], hosts: Mapping[str, Any]) -> str:
    if kind not in kinds:
        return f"is of kind '{kind}', which the base file does not have; it has {', '.join(kinds)}"
    if machine.name in hosts:
        return "stands there twice, or in the base file too; names of hosts differ"
    if not machine.address and not machine.state:
        return "has no address yet; try again when it has one"
    return ""


def gone(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Hosts that an inventory had and has no more."""
    return sorted(set(before) - set(now))


def _mapping(base: YamlFile, key: str) -> Mapping[str, Any]:
    if not isinstance(base.value, dict):
        raise InputError([Problem(base.source, "", "holds no mapping; see docs/hosts.md")])
    value = base.value.get(key) or {}
    if not isinstance(value, dict):
        raise InputError([Problem(base.source, key, "must be a mapping", base.line_of((key,)))])
    if key == "kinds" and not value:
        what = "is missing: it says what a host of each kind is, by the keys of a host"
        raise InputError([Problem(base.source, key, what)])
    return value
