"""What repairs a fault that is still on: its parameter `until` names unload, restart or reset.

It lives in the driver because everything that serves asks there which faults it has.
"""

from __future__ import annotations

import os
import time
from typing import Any

from . import paths

Faults = dict[str, dict[str, Any]]
# Of one server: it no more sees its GPUs.
ON_CPU = "ollama-on-cpu"


class Repairs:
    """Faults that a repair has ended, until they are switched on anew."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}

    def end(self, faults: Faults, by: str, gpu: int | None = None) -> bool:
        """Something happened (`by`) that ends those which wait for it; whether there were any."""
        ended = {
            name: _switched_on_ns(name)
            for name, given in faults.items()
            if given.get("until") == by and (gpu is None or str(given.get("gpu", gpu)) == str(gpu))
        }
        self._ended.update(ended)
        return bool(ended)

    def left(self, faults: Faults) -> Faults:
        """Those that are still there."""
        return {
            name: given
            for name, given in faults.items()
            if self._ended.get(name) != _switched_on_ns(name)
        }


def of_process(faults: Faults, pid: int) -> Faults:
    """The faults as a process has them: of its slice, and not repaired by its start."""
    return {name: given for name, given in faults.items() if _concerns(name, given, pid)}


def _concerns(name: str, given: dict[str, Any], pid: int) -> bool:
    if given.get("slice") and f"/ollama-{given['slice']}.service" not in _cgroup(pid):
        return False
    is_repaired = given.get("until") in ("restart", "unload") and _began_ns(pid) > _switched_on_ns(
        name
    )
    return not is_repaired


def _switched_on_ns(name: str) -> int:
    try:
        return os.stat(f"{paths.FAULTS}/{name}.json").st_mtime_ns
    except FileNotFoundError:
        return 0


def _cgroup(pid: int) -> str:
    return _read(f"/proc/{pid}/cgroup")


def _began_ns(pid: int) -> int:
    """When a process began, in Unix time; 0 for one that is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return 0
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    began_s = time.time() - up_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return int(began_s * 1e9)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
