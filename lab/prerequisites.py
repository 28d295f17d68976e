"""What the outer machine must have before a lab can be built; apt installs what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from rich.console import Console

from lab.errors import LabError

# command that must be there: Debian package that brings it
PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "apt-ftparchive": "apt-utils",
    "gpg": "gnupg",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "zstd": "zstd",
    "rpmbuild": "rpm",
    "createrepo_c": "createrepo-c",
}

# Each host's systemd and D-Bus hold some; with the kernel's usual 128 about the twentieth host dies.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 1024


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab makes mounts and network bridges: run it as root (sudo)")


def install_missing(console: Console) -> None:
    packages = missing_packages()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"the lab needs {', '.join(packages)}, and there is no apt to install them")
    console.print(f"==> Installing {', '.join(packages)} on this machine (the lab needs them)")
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *packages)


def missing_packages() -> list[str]:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return sorted(
        {PACKAGES[command] for command in PACKAGES if not shutil.which(command, path=path)}
    )


def refresh_lists(console: Console) -> None:
    console.print("==> Reading this machine's package lists (apt-get update)")
    _apt("update")


def require_overlay() -> None:
    """Where overlayfs is a module, it has to be loaded before the first host."""
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        subprocess.run(["modprobe", "overlay"], check=False, capture_output=True)
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        raise LabError("this kernel has no overlayfs, which every lab host is built on")


def allow_many_hosts(console: Console, setting: Path = INOTIFY) -> None:
    """Raises the kernel's limit of inotify instances until the next reboot of this machine."""
    found = int(setting.read_text())
    if found >= INOTIFY_INSTANCES:
        return
    try:
        setting.write_text(f"{INOTIFY_INSTANCES}\n")
    except OSError as error:
        said = f"cannot be raised ({error.strerror}): more than about 20 hosts will not start"
    else:
        said = f"raised to {INOTIFY_INSTANCES}, for more than about 20 hosts"
    console.print(f"==> fs.inotify.max_user_instances was {found}; {said}", soft_wrap=True)


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise LabError(f"apt-get {arguments[0]} failed:\n{done.stderr.strip()}")
