"""The lab's network: one bridge, one address per host, no way out. Knows nothing of machines."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.state import MIRROR, LabPaths, read_json, write_json

BRIDGE = "fleetlab0"
SUBNET = "10.77.0"
PREFIX_BITS = 24
OUTER_ADDRESS = f"{SUBNET}.1"
MIRROR_ADDRESS = f"{SUBNET}.2"
# gpu01 is .11, gpu02 is .12 ...: an inventory can name them before they exist.
NUMBERED = re.compile(r"gpu0*([1-9]\d?)")
NUMBERED_OFFSET, NUMBERED_LAST = 10, 99
FIRST_OTHER, LAST_OTHER = 100, 250


def choose_address(name: str, taken: Iterable[str]) -> str:
    """The address of a host: fixed for `mirror` and `gpuNN`, otherwise the first free one."""
    if name == MIRROR:
        return MIRROR_ADDRESS
    number = NUMBERED.fullmatch(name)
    if number and int(number[1]) + NUMBERED_OFFSET <= NUMBERED_LAST:
        return _free(name, int(number[1]) + NUMBERED_OFFSET, taken)
    used = set(taken)
    for last in range(FIRST_OTHER, LAST_OTHER + 1):
        if f"{SUBNET}.{last}" not in used:
            return f"{SUBNET}.{last}"
    raise LabError(
        "all addresses of the lab are taken, also by names of the past: `lab purge` frees them"
    )


def _free(name: str, last: int, taken: Iterable[str]) -> str:
    address = f"{SUBNET}.{last}"
    if address in set(taken):
        raise LabError(f"{name} would have the address {address}, which another host has")
    return address


def assign_address(paths: LabPaths, name: str) -> str:
    """Remembered for good, so that a host which is made again is found where it was."""
    known: dict[str, str] = read_json(paths.addresses)
    if name not in known:
        known[name] = choose_address(name, known.values())
        write_json(paths.addresses, known)
    return known[name]


def owner() -> Path | None:
    """The lab that the bridge belongs to; only one can run on a machine."""
    with contextlib.suppress(FileNotFoundError):
        return Path((_sys(BRIDGE) / "ifalias").read_text().strip())
    return None


def ensure_bridge(paths: LabPaths) -> None:
    if not _sys(BRIDGE).exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("link", "set", BRIDGE, "alias", str(paths.root))
    _ip("address", "replace", f"{OUTER_ADDRESS}/{PREFIX_BITS}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")


def remove_bridge() -> None:
    for cable in _sys(BRIDGE).glob("brif/*"):
        _ip("link", "delete", cable.name)
    if _sys(BRIDGE).exists():
        _ip("link", "delete", BRIDGE)


def has_cable(name: str) -> bool:
    return (_sys(_cable(name)) / "master").exists()


def drop_cable(name: str) -> None:
    """The kernel takes a moment to remove a dead host's cable, and its name must be free."""
    if _sys(_cable(name)).exists():
        subprocess.run(["ip", "link", "delete", _cable(name)], capture_output=True)


def unplug(name: str) -> None:
    _ip("link", "set", _cable(name), "down")


def plug(name: str) -> None:
    _ip("link", "set", _cable(name), "up")


def _cable(name: str) -> str:
    return f"vb-{name}"


def _sys(interface: str) -> Path:
    return Path("/sys/class/net") / interface


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
