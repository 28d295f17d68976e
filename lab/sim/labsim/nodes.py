"""Device nodes of the simulated driver.

They borrow the virtual terminals' major: a node whose driver does not exist fails with ENXIO
before the kernel's device filter is asked, and then isolation could not be shown.
"""

from __future__ import annotations

import contextlib
import os
import stat

from . import capabilities, paths
from .machine import Machine

MAJOR = 4
FIRST_GPU_MINOR = 20
CONTROL = {"nvidiactl": 40}
UVM = {"nvidia-uvm": 41, "nvidia-uvm-tools": 42}
MODESET = {"nvidia-modeset": 43}

Nodes = dict[str, int]


def gpu_nodes(machine: Machine) -> Nodes:
    return {f"nvidia{gpu['minor']}": FIRST_GPU_MINOR + gpu["minor"] for gpu in machine.gpus}


def all_nodes(machine: Machine) -> Nodes:
    """None without a driver; each group comes with its module."""
    control = CONTROL if machine.loaded else {}
    uvm = UVM if machine.uvm_loaded else {}
    modeset = MODESET if "nvidia_modeset" in machine.modules else {}
    return {**gpu_nodes(machine), **control, **uvm, **modeset}


def make(nodes: Nodes) -> None:
    for name, minor in nodes.items():
        mode = capabilities.mode_of(name) if "/" in name else 0o666
        _make_node(f"{paths.DEV}/{name}", minor, mode)


def remove(names: set[str]) -> None:
    for name in names:
        try:
            os.unlink(f"{paths.DEV}/{name}")
        except FileNotFoundError:
            continue
    with contextlib.suppress(OSError):  # other capabilities are still there, or never were
        os.rmdir(f"{paths.DEV}/{capabilities.FOLDER}")


def _make_node(path: str, minor: int, mode: int) -> None:
    device = os.makedev(MAJOR, minor)
    try:
        found = os.stat(path)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == device:
            return
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.mknod(path, stat.S_IFCHR | mode, device)
    os.chmod(path, mode)
