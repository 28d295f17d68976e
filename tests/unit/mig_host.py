"""What the tests of simulated MIG share: hosts with cards that can be cut, and reading them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost

MODES = "mig.mode.current,mig.mode.pending"
IN_USE = "In use by another client"


@contextmanager
def ampere(folder: Path) -> Iterator[SimHost]:
    """Two A100 without nvidia_drm in their way."""
    with SimHost(folder, described("2x-a100-80gb", 2, drm_blocks_reset=False)) as host:
        yield host


@contextmanager
def hopper(folder: Path) -> Iterator[SimHost]:
    with SimHost(folder, described("8x-h100", 1)) as host:
        yield host


def described(profile: str, count: int, **more: Any) -> dict[str, Any]:
    """The profile's hardware with fewer GPUs and no NVSwitch."""
    found = hardware(load_profile(profile), "unit01")
    return {**found, "gpus": found["gpus"][:count], "nvswitch": 0, **more}


def enable(host: SimHost, *arguments: str) -> None:
    host.smi(*arguments, "-mig", "1")
    assert host.query(MODES, *arguments)[0] == ["Enabled", "Enabled"]


def devices(host: SimHost) -> list[tuple[str, str]]:
    """(name, UUID) of each MIG device, by the pattern that tools use on -L."""
    pattern = r"^\s+MIG\s+(\S+)\s+Device\s+\d+:\s+\(UUID:\s+(MIG-[0-9a-f-]+)\)$"
    return re.findall(pattern, host.smi("-L"), re.M)


def names(host: SimHost) -> list[str]:
    return [name for name, _ in devices(host)]


def placements(host: SimHost) -> dict[str, str]:
    """GPU instance id → start:size, as -lgi lists them."""
    rows = re.findall(r"\| +\d+ +MIG \S+ +\d+ +(\d+) +(\d+:\d+) +\|", host.smi("mig", "-lgi"))
    return dict(rows)


def caps(host: SimHost) -> set[str]:
    folder = host.dev / "nvidia-caps"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()
