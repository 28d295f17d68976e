"""What is plugged in and what is broken: hardware.json and faults/ of one host, read together.

A `Machine` is one consistent reading; it knows nothing of processes or memory in use.
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import paths

Signature = tuple[tuple[str, int, int], ...]


class Machine:
    """One reading of the host's hardware and of the faults that are switched on."""

    def __init__(self, hardware: dict[str, Any], faults: dict[str, dict[str, Any]]) -> None:
        self.hardware = hardware
        self.faults = faults

    @property
    def gpus(self) -> list[dict[str, Any]]:
        return self.hardware.get("gpus") or []

    @property
    def driver(self) -> dict[str, Any]:
        return self.hardware.get("driver") or {}

    @property
    def library_version(self) -> str:
        return self.driver.get("version") or ""

    @property
    def loaded_version(self) -> str:
        fault = self.faults.get("wrong-driver")
        return self.library_version if fault is None else fault.get("version") or "575.57.08"

    @property
    def mismatch(self) -> bool:
        return self.loaded_version != self.library_version

    @property
    def uvm_loaded(self) -> bool:
        return "uvm-missing" not in self.faults

    def broken(self, fault: str) -> set[int]:
        """Indexes of the GPUs that this fault names (the first one when it names none)."""
        return _indexes(self.faults[fault].get("gpu", 0)) if fault in self.faults else set()

    def is_lost(self, gpu: dict[str, Any]) -> bool:
        return gpu["index"] in self.broken("gpu-lost")


def numa_node(index: int, count: int) -> int:
    """Hosts with more than four GPUs have two sockets, each with half of them."""
    return int(count > 4 and index >= count // 2)


def signature() -> Signature:
    """Changes whenever hardware.json or a fault file is written, added or removed."""
    files = [paths.HARDWARE, *(f"{paths.FAULTS}/{name}" for name in _fault_files())]
    return tuple(entry for entry in map(_stamp, files) if entry)


def read() -> Machine:
    faults = {name[:-5]: _json(f"{paths.FAULTS}/{name}") for name in _fault_files()}
    return Machine(_json(paths.HARDWARE), faults)


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
