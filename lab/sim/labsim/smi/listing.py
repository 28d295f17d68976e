"""`nvidia-smi -L`: one line per GPU, and one below it per MIG device."""

from __future__ import annotations

from . import exits, fields
from .view import Host


def show(host: Host, wanted: str | None) -> int:
    for gpu in host.select(wanted):
        name, uuid = (fields.LOST, fields.LOST) if gpu.lost else (gpu.name, gpu.uuid)
        print(f"GPU {gpu.index}: {name} (UUID: {uuid})")
        for device in [] if gpu.lost else gpu.mig_devices:
            place = f"Device {device['index']:>2}"
            print(f"  MIG {device['name']:<11} {place}: (UUID: {device['uuid']})")
    return exits.OK
