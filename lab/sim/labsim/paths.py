"""Where the simulated hardware finds its files, makes its nodes and listens.

The environment moves each place, so that tests can run a host beside the real machine.
"""

from __future__ import annotations

import os


def _running_kernel() -> str:
    """As booted (see bootloader); the outer machine's before the first boot."""
    try:
        with open(RUNNING_KERNEL, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return os.uname().release


ROOT = os.environ.get("LAB_ROOT", "")
HW = os.environ.get("LAB_HW", "/var/lib/lab-hw")
RUNNING_KERNEL = f"{HW}/running-kernel"
KERNEL = _running_kernel()
DEV = os.environ.get("LAB_DEV", "/dev")
SOCKET = os.environ.get("LAB_DRIVER_SOCKET", "/run/lab-driver.sock")

HARDWARE = f"{HW}/hardware.json"
FAULTS = f"{HW}/faults"
KERNEL_LOG = f"{HW}/kernel.log"
MODULES = f"{ROOT}/lib/modules"
BOOT = f"{ROOT}/boot"
