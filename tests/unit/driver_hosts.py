"""Hosts for tests of the driver step, as states and as the text that a host answers."""

from dataclasses import replace
from typing import Any

from ollama_fleet.driver import files
from ollama_fleet.driver.state import KernelState, Package, State, Unit
from tests.unit.examples import gpu, hardware

KERNEL = "6.1.0-28-amd64"
RTX3090 = 0x2204


def bare(**changes: Any) -> State:
    """Debian 12 with two RTX 3090, and nothing of NVIDIA's."""
    state = State(
        os_id="debian",
        os_version="12",
        machine="x86_64",
        kernel=KERNEL,
        gpu_ids=(RTX3090, RTX3090),
        kernels=(KernelState(KERNEL, False, None, None),),
        hardware=replace(hardware(2), gpus=(), smi_code=127, smi_message="not found"),
    )
    return replace(state, **changes)


def driven(version: str = "580.95.05", **changes: Any) -> State:
    """The same with a working driver of somebody else's."""
    cards = tuple(replace(gpu(position), driver_version=version) for position in range(2))
    state = bare(
        loaded=version,
        loaded_flavour="open",
        library=version,
        kernels=(KernelState(KERNEL, True, version, "open"),),
        packages=(Package("nvidia-driver-cuda", f"{version}-1"),),
        hardware=replace(hardware(2), gpus=cards, loaded_driver=version),
    )
    return replace(state, **changes)


def managed(version: str = "580.95.05", **changes: Any) -> State:
    """The same, installed by us and in order."""
    digests = {file.path: files.digest(file) for file in files.settings("apt")}
    units = {"nvidia-persistenced.service": Unit("loaded", "active", "enabled")}
    return replace(driven(version, files=digests, units=units, pinned=version), **changes)
