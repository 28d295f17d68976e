"""What a container of a lab host needs to use its GPUs: nodes, mounts, and who asked for which.

All of NVIDIA's container tools say the same thing through this: the runtime and the old hook put it
into one container, nvidia-ctk writes it down as a CDI specification.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from typing import Any

from . import client, disk, paths

VERSION_FILE = "/usr/share/nvidia-container-toolkit/version"
PROGRAMS = "/usr/lib/lab"
SMI = "/usr/bin/nvidia-smi"
CONTROL_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
Mounts = dict[str, str]  # place in the container → place in the host


class NoDriverError(Exception):
    """There is nothing to give to a container."""


def toolkit_version() -> str:
    try:
        with open(VERSION_FILE, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "1.20.0"


def is_legacy() -> bool:
    """Up to 1.17 the runtime leaves the work to a hook; from 1.18 on it applies CDI by itself."""
    return tuple(map(int, toolkit_version().split(".")[:2])) < (1, 18)


def gpus() -> list[dict[str, Any]]:
    """The driver's GPUs; raises NoDriverError."""
    try:
        answer = client.ask("devices")
    except client.NotLoadedError as error:
        raise NoDriverError("driver not loaded") from error
    if not answer.get("driver", {}).get("loaded") or not answer.get("gpus"):
        raise NoDriverError("driver not loaded")
    found: list[dict[str, Any]] = answer["gpus"]
    return found


def devices() -> dict[str, list[str]]:
    """Every name that a device can be asked for by, with the GPU nodes that it stands for."""
    named: dict[str, list[str]] = {}
    for gpu in gpus():
        node = f"nvidia{gpu['minor']}"
        named[str(gpu["index"])] = named[gpu["uuid"]] = [node]
        for mig in gpu.get("mig_devices") or []:
            nodes = [node, *mig["nodes"]]
            named[f"{gpu['index']}:{mig['index']}"] = named[mig["uuid"]] = nodes
    named["all"] = sorted({node for nodes in named.values() for node in nodes})
    return named


def nodes_of(asked: str) -> list[str] | None:
    """Nodes for a value of NVIDIA_VISIBLE_DEVICES; None when it asks for none. Raises KeyError."""
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if not names or names in (["void"], ["none"]):
        return None
    known = devices()
    wanted = {node for name in names for node in known[name]}
    return sorted(wanted | {name for name in CONTROL_NODES if os.path.exists(_dev(name))})


def _dev(node: str) -> str:
    return f"{paths.DEV}/{node}"


def node_numbers(node: str) -> tuple[int, int]:
    found = os.stat(_dev(node)).st_rdev
    return os.major(found), os.minor(found)


def mounts() -> Mounts:
    """The simulation's programs with a Python for them, the driver's library and its socket."""
    python = os.path.realpath("/usr/bin/python3")
    library = f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    found = {
        PROGRAMS: PROGRAMS,
        SMI: f"{PROGRAMS}/nvidia-smi-in-container",
        "/usr/bin/python3": python,
        library: library,
        paths.SOCKET: paths.SOCKET,
    }
    found |= {path: path for path in _linked_libraries(python)}
    return found | {path: path for path in driver_libraries()}


def driver_libraries() -> list[str]:
    """Only the versioned file: an upgrade leaves a specification that points to nothing."""
    version = disk.library_version()
    patterns = [f"/{folder}/{disk.LIBRARY}.{version}" for folder in disk.LIBRARY_FOLDERS]
    return [path for pattern in patterns for path in glob.glob(pattern)]


def _linked_libraries(program: str) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    words = [word for line in said.splitlines() for word in line.split()]
    return sorted({word for word in words if word.startswith("/") and os.path.exists(word)})
