"""The NVSwitch fabric: without a running fabric manager no program can use a GPU."""

from __future__ import annotations

from .machine import Machine

COMPLETED, IN_PROGRESS = "Completed", "In Progress"


class Fabric:
    def __init__(self) -> None:
        self._managers: set[int] = set()

    @property
    def managers(self) -> int:
        return len(self._managers)

    def join(self, key: int, built_for: str, machine: Machine) -> str | None:
        """Why this fabric manager cannot start, or None."""
        if not machine.loaded:
            return "request to query NVSwitch device information from NVSwitch driver failed"
        if not machine.hardware.get("nvswitch"):
            return "fabric manager NVIDIA NVSwitch devices not detected on this system: NV_WARN_NOTHING_TO_DO"
        if built_for != machine.loaded_version:
            return (
                f"fabric manager NVIDIA GPU driver interface version {built_for} don't match with "
                f"driver version {machine.loaded_version}. Please update with matching NVIDIA "
                "driver package."
            )
        if "fabric-manager-dead" in machine.faults:
            return "failed to initialize all the NVSwitch devices: fatal NVSwitch error"
        self._managers.add(key)
        return None

    def leave(self, key: int) -> None:
        self._managers.discard(key)

    def state(self, machine: Machine) -> str | None:
        """None where there is no NVSwitch."""
        if not machine.hardware.get("nvswitch"):
            return None
        works = self._managers and "fabric-manager-dead" not in machine.faults
        return COMPLETED if works else IN_PROGRESS
