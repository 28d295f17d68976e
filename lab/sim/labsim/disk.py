"""What a driver's installation leaves on the disk: module files, the library, the initramfs.

A module file is text, one JSON object: version, flavour, signed_by. It knows nothing of what is
loaded.
"""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any

from . import paths

# As depmod searches: what DKMS built goes before what came with the kernel.
SEARCHED = ("updates", "extra", "")
MODULE_FILES = ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm")
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64")
LIBRARY = "libnvidia-ml.so"
INITRAMFS = ("initrd.img-{}", "initramfs-{}.img")


def find_module(name: str, kernel: str = paths.KERNEL) -> str | None:
    """The file that modprobe would load; `name` with either kind of dash."""
    file = f"{name.replace('_', '-')}.ko"
    for folder in SEARCHED:
        for top, folders, files in os.walk(f"{paths.MODULES}/{kernel}/{folder}"):
            folders[:] = sorted(each for each in folders if each not in ("build", "source"))
            if file in files:
                return f"{top}/{file}".replace("//", "/")
    return None


def read_module(path: str) -> dict[str, Any]:
    """Raises ValueError for a file that is no module of the lab."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    if not isinstance(found, dict) or "version" not in found:
        raise ValueError(f"{path} is not a kernel module")
    return found


def write_modules(kernel: str, folder: str, module: dict[str, Any]) -> None:
    """All of the driver's modules into /lib/modules/KERNEL/FOLDER."""
    place = f"{paths.MODULES}/{kernel}/{folder}"
    os.makedirs(place, exist_ok=True)
    for name in MODULE_FILES:
        with open(f"{place}/{name}.ko", "w", encoding="utf-8") as file:
            file.write(json.dumps(module) + "\n")


def kernels() -> list[str]:
    """Every installed kernel, oldest first."""
    found = [os.path.basename(path) for path in glob.glob(f"{paths.MODULES}/*")]
    return sorted(found, key=version_key)


def has_headers(kernel: str) -> bool:
    return os.path.exists(f"{paths.MODULES}/{kernel}/build")


def version_key(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def library_version() -> str | None:
    """The target of the link libnvidia-ml.so.1 is the version of the user space."""
    for folder in LIBRARY_FOLDERS:
        try:
            target = os.readlink(f"{paths.ROOT}/{folder}/{LIBRARY}.1")
        except OSError:
            continue
        if os.path.exists(f"{paths.ROOT}/{folder}/{os.path.basename(target)}"):
            return os.path.basename(target).removeprefix(f"{LIBRARY}.")
    return None


def write_library(folder: str, version: str) -> None:
    place = f"{paths.ROOT}/{folder}"
    os.makedirs(place, exist_ok=True)
    with open(f"{place}/{LIBRARY}.{version}", "w", encoding="utf-8"):
        pass
    if os.path.lexists(f"{place}/{LIBRARY}.1"):
        os.unlink(f"{place}/{LIBRARY}.1")
    os.symlink(f"{LIBRARY}.{version}", f"{place}/{LIBRARY}.1")


def settings(folder: str) -> str:
    """The lines of /etc/FOLDER/*.conf and /usr/lib/FOLDER/*.conf; a file in /etc hides its like."""
    files: dict[str, str] = {}
    for top in ("usr/lib", "etc"):
        for path in glob.glob(f"{paths.ROOT}/{top}/{folder}/*.conf"):
            files[os.path.basename(path)] = path
    return "".join(_text(files[name]) for name in sorted(files))


def initramfs(kernel: str = paths.KERNEL) -> str:
    """What modprobe settings it was built with; empty where there is none."""
    return "".join(_text(f"{paths.BOOT}/{name.format(kernel)}") for name in INITRAMFS)


def blacklists(text: str, module: str) -> bool:
    return bool(re.search(rf"^\s*blacklist\s+{module}\s*$", text, re.M))


def wanted_after_nvidia() -> list[str]:
    """Modules that a softdep or modules-load.d asks for: without, nvidia-uvm waits for a user."""
    soft = re.findall(r"^\s*softdep\s+nvidia\s+post:(.*)$", settings("modprobe.d"), re.M)
    return [name.replace("_", "-") for line in soft for name in line.split()]


def wanted_at_boot() -> list[str]:
    lines = (settings("modules-load.d") + _text(f"{paths.ROOT}/etc/modules")).splitlines()
    return [line.strip().replace("_", "-") for line in lines if not line.startswith(("#", ";"))]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n") + "\n"
    except OSError:
        return ""
