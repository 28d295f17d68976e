"""Finds and removes what a lab left behind on the outer machine, whatever ended it.

It looks at the machine itself (mounts, loop devices, control groups, links), not at records.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from lab import cgroup, network
from lab.errors import LabError
from lab.state import LabPaths, mount_points


def refuse_foreign(paths: LabPaths) -> None:
    """One lab per machine. The traces of one whose repository is gone are cleared away."""
    owner = network.owner()
    if owner is None or owner == paths.root:
        return
    if owner.is_dir() and cgroup.names():
        raise LabError(
            f"the lab of {owner.parent} is running on this machine, and there is room for one: "
            f"run `lab down` there first"
        )
    sweep(owner)


def sweep(root: Path) -> None:
    for name in cgroup.names():
        cgroup.kill(name)
        cgroup.remove(name)
    unmount_below(root / "hosts")
    for device, file in _loop_devices():
        if file.startswith(f"{root}/hosts/"):
            subprocess.run(["losetup", "--detach", device], capture_output=True)
    network.remove_bridge()


def unmount_below(directory: Path) -> None:
    for mount in reversed(mount_points()):
        if mount.startswith(f"{directory}/"):
            _unmount(mount)


def _unmount(mount: str) -> None:
    """Processes that were just killed may hold it for a moment."""
    for _ in range(100):
        if subprocess.run(["umount", mount], capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    raise LabError(f"could not unmount {mount}: something still uses it (see `fuser -vm {mount}`)")


def _loop_devices() -> list[tuple[str, str]]:
    command = ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return [(device, file) for device, file in (line.split(maxsplit=1) for line in lines)]
