"""`nvidia-smi mig`: what a host answers while MIG mode is off everywhere."""

from __future__ import annotations

import os

from . import exits
from .view import Host

LISTS = {
    "-lgi": "No GPU instances found: Not Found\n",
    "-lci": "No compute instances found: Not Found\n",
    "-lgip": "No MIG-enabled devices found.\n",
    "-lcip": "No MIG-enabled devices found.\n",
}


def show(host: Host, arguments: list[str]) -> int:
    if os.geteuid() != 0:
        raise exits.Exit(exits.NO_PERMISSION, "Insufficient Permissions\n")
    asked = next((argument for argument in arguments if argument in LISTS), None)
    if asked is None:
        raise exits.Exit(exits.NOT_FOUND, "No MIG-enabled devices found.\n")
    if not any(gpu.mig_mode for gpu in host.gpus):
        raise exits.Exit(exits.NOT_FOUND, "No MIG-supported devices found.\n")
    raise exits.Exit(exits.NOT_FOUND, LISTS[asked])
