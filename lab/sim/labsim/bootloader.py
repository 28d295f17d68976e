"""Which of the installed kernels a boot starts. It runs before any module that asks for the running
kernel is imported.

The first boot starts the outer machine's kernel, each later one the newest that is installed, as
GRUB does. Only its name changes: `uname` of a lab host answers with it.
"""

from __future__ import annotations

import glob
import os
import re

from . import paths


def boot() -> None:
    if os.path.exists(paths.RUNNING_KERNEL):
        paths.KERNEL = max(_bootable() or [paths.KERNEL], key=_age)
    with open(paths.RUNNING_KERNEL, "w", encoding="utf-8") as file:
        file.write(f"{paths.KERNEL}\n")


def _bootable() -> list[str]:
    """With an image in /boot and a folder for its modules."""
    prefix = f"{paths.BOOT}/vmlinuz-"
    found = [path.removeprefix(prefix) for path in glob.glob(f"{prefix}*")]
    return [kernel for kernel in found if os.path.isdir(f"{paths.MODULES}/{kernel}")]


def _age(kernel: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", kernel)]
