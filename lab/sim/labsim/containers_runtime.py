"""nvidia-container-runtime: runc, with the GPUs that a container asks for put into its bundle."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from . import containers

RUNTIMES = ("/usr/sbin/runc", "/usr/bin/runc")
HOOK = "/usr/bin/nvidia-container-runtime-hook"
MOUNT_OPTIONS = ["rbind", "nosuid", "nodev", "rprivate"]


def main(arguments: list[str]) -> int:
    if "create" in arguments or "run" in arguments:
        try:
            _edit(f"{_bundle(arguments)}/config.json")
        except (containers.NoDriverError, KeyError) as error:
            print(f"nvidia-container-runtime: could not apply CDI: {error}", file=sys.stderr)
            return 1
    runc = next(path for path in RUNTIMES if os.access(path, os.X_OK))
    os.execv(runc, ["runc", *arguments])


def _bundle(arguments: list[str]) -> str:
    for position, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--bundle", "-b"):
            return value or arguments[position + 1]
    return os.getcwd()


def _edit(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    nodes = containers.nodes_of(visible(config))
    if nodes is None:
        return
    if containers.is_legacy():
        _add_hook(config)
    else:
        add(config, nodes)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)


def visible(config: dict[str, Any]) -> str:
    """What a container asks for, in its environment."""
    names = dict(each.split("=", 1) for each in config["process"].get("env", []) if "=" in each)
    return str(names.get("NVIDIA_VISIBLE_DEVICES", ""))


def _add_hook(config: dict[str, Any]) -> None:
    hooks = config.setdefault("hooks", {}).setdefault("prestart", [])
    if not any(hook["path"] == HOOK for hook in hooks):
        hooks.append({"path": HOOK, "args": [HOOK, "prestart"]})


def add(config: dict[str, Any], nodes: list[str]) -> None:
    """As CDI has it: nodes with their permission in the specification of the container itself, so that
    systemd knows of them. The hook, which works behind its back, has nothing left to do."""
    hooks = config.get("hooks", {})
    hooks["prestart"] = [h for h in hooks.get("prestart") or [] if not h["path"].endswith("-hook")]
    linux = config["linux"]
    allowed = linux.setdefault("resources", {}).setdefault("devices", [])
    for node in nodes:
        major, minor = containers.node_numbers(node)
        numbers = {"type": "c", "major": major, "minor": minor}
        mode = {"fileMode": 0o666, "uid": 0, "gid": 0}
        linux.setdefault("devices", []).append({"path": f"/dev/{node}", **numbers, **mode})
        allowed.append({"allow": True, **numbers, "access": "rwm"})
    config["mounts"] += [
        {"destination": place, "source": source, "type": "bind", "options": MOUNT_OPTIONS}
        for place, source in containers.mounts().items()
    ]
