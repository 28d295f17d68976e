"""The control group that holds every process of one host: how they are found and ended for certain.

Nothing is killed by a remembered process number: what is in the host's group is the host's.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

SLICE = "fleetlab.slice"
# Below a host's group: `keeper` holds the supervisor, `boot` what one start of the host brought.
KEEPER, BOOT = "keeper", "boot"


def hierarchies() -> list[Path]:
    """Where systemd-nspawn looks: the v2 tree first, then systemd's v1 tree if there is one."""
    unified, legacy = [], []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2":
            unified.append(Path(where))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            legacy.append(Path(where))
    return unified[:1] + legacy[:1]


def group(name: str) -> Path:
    return _groups(name)[0]


def _groups(name: str) -> list[Path]:
    return [tree / SLICE / f"fleetlab-{name}.scope" for tree in hierarchies()]


def names() -> list[str]:
    """Hosts that have a group, running or left over."""
    found = {path.name for tree in hierarchies() for path in tree.glob(f"{SLICE}/fleetlab-*.scope")}
    return sorted(name.removeprefix("fleetlab-").removesuffix(".scope") for name in found)


def enter(name: str, part: str) -> None:
    """Move the calling process into a part of the host's group."""
    for directory in _groups(name):
        (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / part / "cgroup.procs").write_text(str(os.getpid()))


def fresh_boot(name: str) -> None:
    """A new boot starts in an empty group, as it does after power-on."""
    for directory in _groups(name):
        _remove(directory / BOOT)


def processes(name: str, part: str) -> list[int]:
    found: list[int] = []
    for file in (group(name) / part).glob("**/cgroup.procs"):
        with contextlib.suppress(OSError):
            found += [int(line) for line in file.read_text().split()]
    return found


def leader(name: str) -> int | None:
    """PID 1 of the host, as a process number of this machine."""
    with contextlib.suppress(OSError, IndexError):
        return int((group(name) / BOOT / "payload/init.scope/cgroup.procs").read_text().split()[0])
    return None


def nspawn(name: str) -> int | None:
    """The systemd-nspawn process: SIGTERM to it asks the host to shut down."""
    found = processes(name, f"{BOOT}/supervisor")
    return found[0] if found else None


def is_populated(name: str) -> bool:
    try:
        return "populated 1" in (group(name) / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def wait_empty(name: str, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_populated(name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill(name: str) -> None:
    """End everything at once, like pulling the plug."""
    with contextlib.suppress(FileNotFoundError):
        (group(name) / "cgroup.kill").write_text("1")
    wait_empty(name, timeout_s=10)


def remove(name: str) -> None:
    for directory in _groups(name):
        _remove(directory)
        with contextlib.suppress(OSError):
            directory.parent.rmdir()


def _remove(directory: Path) -> None:
    """Groups are removed from the leaves up; one that still ends a process is tried again."""
    deadline = time.monotonic() + 2
    while directory.exists():
        for path, _, _ in os.walk(directory, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        if time.monotonic() > deadline:
            return
        if directory.exists():
            time.sleep(0.02)
