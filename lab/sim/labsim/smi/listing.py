"""`nvidia-smi -L`: one line per GPU."""

from __future__ import annotations

from . import exits, fields
from .view import Host


def show(host: Host, wanted: str | None) -> int:
    for gpu in host.select(wanted):
        name, uuid = (fields.LOST, fields.LOST) if gpu.lost else (gpu.name, gpu.uuid)
        print(f"GPU {gpu.index}: {name} (UUID: {uuid})")
    return exits.OK
