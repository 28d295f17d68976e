"""What -q says of the MIG devices of a GPU. As the real report it names no UUID: that is in -L."""

from __future__ import annotations

from typing import Any

from .report_items import Item
from .view import Gpu

ENGINES = (
    ("Copy Engine count", "copy_engine_count", 0),
    ("Encoder count", "encoder_count", 2),
    ("Decoder count", "decoder_count", 1),
    ("OFA count", "ofa_count", 4),
    ("JPG count", "jpg_count", 3),
)
BAR1_MIB = 98304


def mig_devices(gpu: Gpu) -> list[Item]:
    return [("MIG Device", "mig_device", _device(device)) for device in gpu.mig_devices]


def _device(device: dict[str, Any]) -> list[Item]:
    engines: list[Item] = [
        (label, tag, str(device["engines"][place])) for label, tag, place in ENGINES
    ]
    shared: list[Item] = [("Multiprocessor count", "multiprocessor_count", str(device["sm"]))]
    errors: list[Item] = [("SRAM Uncorrectable", "sram_uncorrectable", "0")]
    bar1_mib = int(BAR1_MIB * device["share"])
    total, used = device["memory_total_mib"], device["memory_used_mib"]
    memory = {"total": total, "reserved": 0, "used": used, "free": total - used}
    bar1 = {"total": bar1_mib, "used": 0, "free": bar1_mib}
    return [
        ("Index", "index", str(device["index"])),
        ("GPU Instance Id", "gpu_instance_id", str(device["gi"])),
        ("Compute Instance Id", "compute_instance_id", str(device["ci"])),
        ("Device Attributes", "device_attributes", [("Shared", "shared", shared + engines)]),
        ("ECC Errors", "ecc_error_count", [("Volatile", "volatile_count", errors)]),
        ("FB Memory Usage", "fb_memory_usage", _figures(memory)),
        ("BAR1 Memory Usage", "bar1_memory_usage", _figures(bar1)),
    ]


def _figures(mib: dict[str, int]) -> list[Item]:
    return [(word.title(), word, f"{value} MiB") for word, value in mib.items()]
