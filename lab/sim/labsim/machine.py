"""What is plugged in, loaded and broken: hardware.json, faults/ and modules, read together.

A `Machine` is one consistent reading; it knows nothing of processes or memory in use.
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import cards, disk, paths

Signature = tuple[tuple[str, int, int], ...]


class Machine:
    """One reading of the host's hardware, its faults, and the modules that are loaded."""

    def __init__(
        self,
        hardware: dict[str, Any],
        faults: dict[str, dict[str, Any]],
        modules: dict[str, dict[str, Any]] | None = None,
        library: str | None = None,
    ) -> None:
        self.hardware = hardware
        self.faults = faults
        hidden = {"nvidia_uvm"} if "uvm-missing" in faults else set()
        self.modules = {n: each for n, each in (modules or {}).items() if n not in hidden}
        self.library_version = library or ""
        self.gpus = self._served()

    @property
    def cards(self) -> list[dict[str, Any]]:
        """Every GPU that is plugged in, driver or not."""
        return self.hardware.get("gpus") or []

    def _served(self) -> list[dict[str, Any]]:
        """The GPUs that the loaded driver brings up, counted as it counts them."""
        if not self.loaded:
            return []
        found = [gpu for gpu in self.cards if self.refusal(gpu) is None]
        return [{**gpu, "index": n} for n, gpu in enumerate(found)]

    def refusal(self, gpu: dict[str, Any]) -> str | None:
        """Why the loaded driver does not bring this card up; None where it does."""
        return cards.refusal(gpu, self.modules["nvidia"])

    @property
    def loaded(self) -> bool:
        return "nvidia" in self.modules

    @property
    def flavour(self) -> str:
        return str(self.modules["nvidia"]["flavour"]) if self.loaded else "open"

    @property
    def loaded_version(self) -> str:
        if not self.loaded:
            return ""
        fault = self.faults.get("wrong-driver")
        own = str(self.modules["nvidia"]["version"])
        return own if fault is None else fault.get("version") or "575.57.08"

    @property
    def mismatch(self) -> bool:
        return self.loaded and self.loaded_version != self.library_version

    @property
    def uvm_loaded(self) -> bool:
        return "nvidia_uvm" in self.modules

    def broken(self, fault: str) -> set[int]:
        """Indexes of the GPUs that this fault names (the first one when it names none)."""
        return _indexes(self.faults[fault].get("gpu", 0)) if fault in self.faults else set()

    def is_lost(self, gpu: dict[str, Any]) -> bool:
        return gpu["index"] in self.broken("gpu-lost")


def numa_node(index: int, count: int) -> int:
    """Hosts with more than four GPUs have two sockets, each with half of them."""
    return int(count > 4 and index >= count // 2)


def signature() -> Signature:
    """Changes with hardware.json, the fault files and the user-space library."""
    files = [paths.HARDWARE, *(f"{paths.FAULTS}/{name}" for name in _fault_files())]
    library = (f"library {disk.library_version()}", 0, 0)
    return (library, *(entry for entry in map(_stamp, files) if entry))


def read(modules: dict[str, dict[str, Any]] | None = None) -> Machine:
    faults = {name[:-5]: _json(f"{paths.FAULTS}/{name}") for name in _fault_files()}
    return Machine(_json(paths.HARDWARE), faults, dict(modules or {}), disk.library_version())


def _fault_files() -> list[str]:
    try:
        return sorted(name for name in os.listdir(paths.FAULTS) if name.endswith(".json"))
    except FileNotFoundError:
        return []


def _stamp(path: str) -> tuple[str, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return path, found.st_mtime_ns, found.st_size


def _json(path: str) -> dict[str, Any]:
    """A file that is still being written reads as empty; its next change brings us back."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _indexes(value: Any) -> set[int]:
    items = value if isinstance(value, list) else str(value).split(",")
    return {int(item) for item in items if str(item).strip().isdigit()}
