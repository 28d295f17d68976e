"""mig-parted's file format (`version: v1`): layouts out of a person's file, and ours written in it.

The same file works with NVIDIA's tool, so that a fleet can change tools and keep its layouts. Pure.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError, Problem

PARTED_FILE = "/etc/ollama/mig-parted.yaml"
# Our configuration's name in the file that a deploy writes.
LABEL = "ollama-fleet"
_KEYS = {"devices", "device-filter", "mig-enabled", "mig-devices"}


class PartedError(InputError):
    """A mig-parted file that cannot be used: where, what is wrong, what to do."""

    def __init__(self, where: str, what: str, source: str = "mig-parted file") -> None:
        super().__init__([Problem(source, where, what)])


def layouts(
    text: str,
    config: str,
    gpus: Sequence[tuple[str, bool]],
    source: str = "mig-parted file",
) -> dict[int, tuple[str, ...]]:
    """Position of each GPU that is to be cut, to its profiles, by one configuration of a file.

    `gpus` are the host's in PCI order: device and vendor id as mig-parted spells them
    (`0x20B210DE`; empty where nobody knows it yet), and whether the card has MIG. `devices: all`
    passes over cards without. Raises PartedError.
    """
    found: dict[int, tuple[str, ...]] = {}
    for nth, entry in enumerate(_entries(text, config, source)):
        where = f"mig-configs.{config}[{nth}]"
        try:
            _take(entry, gpus, found)
        except ValueError as error:
            raise PartedError(where, str(error), source) from None
    return {position: found[position] for position in sorted(found) if found[position]}


def _entries(text: str, config: str, source: str) -> list[Any]:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PartedError("", f"is no YAML: {str(error).splitlines()[0]}", source) from None
    if not isinstance(data, dict) or data.get("version") != "v1":
        raise PartedError("version", "is not v1, the version of mig-parted's files", source)
    unknown = sorted(map(str, set(data) - {"version", "mig-configs"}))
    if unknown:
        raise PartedError(unknown[0], "unknown key; there are version and mig-configs", source)
    configs = data.get("mig-configs")
    if not isinstance(configs, dict) or config not in configs:
        has = ", ".join(map(str, configs)) if isinstance(configs, dict) else "none"
        raise PartedError("mig-configs", f"no configuration '{config}'; it has {has}", source)
    entries = configs[config]
    if not isinstance(entries, list) or not entries:
        raise PartedError(f"mig-configs.{config}", "is no list of devices", source)
    return entries


def _take(entry: Any, gpus: Sequence[tuple[str, bool]], found: dict[int, tuple[str, ...]]) -> None:
    if not isinstance(entry, dict) or not {"devices", "mig-enabled"} <= entry.keys():
        raise ValueError("needs `devices` and `mig-enabled`")
    if unknown := sorted(map(str, set(entry) - _KEYS)):
        raise ValueError(f"unknown key {unknown[0]}; there are {', '.join(sorted(_KEYS))}")
    enabled = entry["mig-enabled"]
    if not isinstance(enabled, bool):
        raise ValueError("mig-enabled is neither true nor false")
    profiles = _profiles(entry.get("mig-devices"))
    if profiles and not enabled:
        raise ValueError("mig-devices need `mig-enabled: true`")
    if enabled and not profiles:
        raise ValueError("mig-enabled is true, but no mig-devices: nothing could run on the GPU")
    for position in _chosen(entry, gpus):
        if position in found:
            raise ValueError(f"GPU {position} is in two entries; give each GPU one")
        found[position] = profiles


def _profiles(value: Any) -> tuple[str, ...]:
    """`{1g.10gb: 2, 3g.40gb: 1}` as three names."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise ValueError("mig-devices is no map of profile to count")
    names: list[str] = []
    for name, count in value.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"mig-devices: {name}: {count} is no count")
        if "c." in str(name):
            raise ValueError(
                f"mig-devices: {name} is a part of an instance; a slice has a whole one"
            )
        names += [str(name)] * count
    return tuple(names)


def _chosen(entry: dict[Any, Any], gpus: Sequence[tuple[str, bool]]) -> list[int]:
    """Positions that an entry means."""
    devices = entry["devices"]
    ids = _filter(entry.get("device-filter"))
    if ids and not all(name for name, _ in gpus):
        raise ValueError("device-filter needs the host's device ids, and nobody knows them yet")
    if devices == "all":
        fits = range(len(gpus))
        chosen = [n for n in fits if not entry["mig-enabled"] or gpus[n][1]]
    elif isinstance(devices, list) and all(type(n) is int and n >= 0 for n in devices):
        chosen = list(devices)
    else:
        raise ValueError("devices is neither `all` nor a list of indexes")
    if missing := [n for n in chosen if n >= len(gpus)]:
        raise ValueError(f"no GPU {missing[0]}; the host has {len(gpus)}")
    if ids:
        chosen = [n for n in chosen if gpus[n][0].upper() in ids]
    for position in chosen:
        if entry["mig-enabled"] and not gpus[position][1]:
            raise ValueError(f"GPU {position} has no MIG; leave it out, or set mig-enabled: false")
    return chosen


def _filter(value: Any) -> set[str]:
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError("device-filter is neither a device id nor a list of them")
    return {one.upper() for one in values}


def write(plan: HostPlan) -> str:
    """The plan's layout as a mig-parted file of one configuration: the GPUs that it cuts."""
    entries: list[dict[str, object]] = [
        {
            "devices": [position],
            "mig-enabled": True,
            "mig-devices": {name: profiles.count(name) for name in dict.fromkeys(profiles)},
        }
        for position, profiles in plan.mig
    ]
    return yaml.safe_dump(
        {"version": "v1", "mig-configs": {LABEL: entries}}, sort_keys=False, default_flow_style=None
    )
