"""Where the simulated driver finds its hardware, makes its nodes and listens.

The environment moves each place, so that tests can run a driver beside the real machine.
"""

from __future__ import annotations

import os

HW = os.environ.get("LAB_HW", "/var/lib/lab-hw")
DEV = os.environ.get("LAB_DEV", "/dev")
SOCKET = os.environ.get("LAB_DRIVER_SOCKET", "/run/lab-driver.sock")

HARDWARE = f"{HW}/hardware.json"
FAULTS = f"{HW}/faults"
