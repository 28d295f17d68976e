"""update-initramfs and dracut of a lab host. An initramfs is the text of all modprobe settings at
the time it was built: that is all the simulation asks of it."""

from __future__ import annotations

import glob
import os
import sys

from . import disk, paths

DEBIAN, DRACUT = (f"{paths.BOOT}/{name}" for name in disk.INITRAMFS)


def update_initramfs(arguments: list[str]) -> int:
    """-u without -k updates the newest one only, as the real one does."""
    wanted = arguments[arguments.index("-k") + 1] if "-k" in arguments[:-1] else None
    present = _kernels_of(DEBIAN)
    if "-d" in arguments:
        for kernel in present if wanted == "all" else [wanted or paths.KERNEL]:
            os.unlink(DEBIAN.format(kernel))
        return 0
    if "-u" not in arguments and "-c" not in arguments:
        print("update-initramfs: You must specify at least one of -c, -u, or -d.", file=sys.stderr)
        return 1
    newest = present[-1:] or [paths.KERNEL]
    for kernel in present if wanted == "all" else [wanted] if wanted else newest:
        print(f"update-initramfs: Generating /boot/initrd.img-{kernel}")
        build(DEBIAN.format(kernel))
    return 0


def dracut(arguments: list[str]) -> int:
    """`dracut -f [--regenerate-all | [IMAGE] [KERNEL] | --kver KERNEL]`"""
    force = bool({"-f", "--force"} & set(arguments))
    if "--regenerate-all" in arguments:
        for kernel in disk.kernels():
            build(DRACUT.format(kernel))
        return 0
    names = [word for word in arguments if not word.startswith("-")]
    kernel = names[-1] if names and not names[-1].startswith("/") else paths.KERNEL
    kernel = next((w.split("=")[1] for w in arguments if w.startswith("--kver=")), kernel)
    image = paths.ROOT + names[0] if names and names[0].startswith("/") else DRACUT.format(kernel)
    if os.path.exists(image) and not force:
        print(f"dracut: Will not override existing initramfs ({image}) without --force")
        return 1
    build(image)
    return 0


def build(image: str) -> None:
    os.makedirs(paths.BOOT, exist_ok=True)
    with open(image, "w", encoding="utf-8") as file:
        file.write("# initramfs of the lab: the modprobe settings it was built with\n")
        file.write(disk.settings("modprobe.d"))


def _kernels_of(pattern: str) -> list[str]:
    prefix = pattern.format("")
    found = [path.removeprefix(prefix) for path in glob.glob(pattern.format("*"))]
    return sorted(found, key=disk.version_key)
