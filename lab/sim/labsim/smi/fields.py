"""Every field of --query-gpu and of the other --query-* options: one line each.

A reader returns the value, or None where the card has none (printed `[N/A]`). A string in
brackets is one of NVIDIA's other non-values and is printed as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .view import Gpu

Value = str | int | float | None
Reader = Callable[[Any], Value]
Field = tuple[str, Reader]  # unit, reader

LOST = "[GPU is lost]"
NOT_SUPPORTED = "[Not Supported]"
DEPRECATED = "[Requested functionality has been deprecated]"
KNOWN_WHEN_LOST = {"index", "count", "timestamp", "driver_version", "pci.bus_id"}
THROTTLE_BITS = {
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "sw_thermal_slowdown": 0x20,
    "sync_boost": 0x10,
}

# Branch with gpu_recovery_action and words for remapped rows; reset_status.* is unknown there. Seen so on
# 580.159, and the older way on 550; what lies between is assumed.
RECOVERY_SINCE = 575
RESET_STATUS = {"reset_status.reset_required", "reset_status.drain_and_reset_recommended"}
FABRIC_STATUS = {"Completed": "Success", "In Progress": "N/A"}


def timestamp() -> str:
    import time

    now = time.time()
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"


def throttle_bits(gpu: Gpu) -> int:
    idle = 0 if gpu.busy else THROTTLE_BITS["gpu_idle"]
    hot = THROTTLE_BITS["hw_slowdown"] | THROTTLE_BITS["hw_thermal_slowdown"]
    capped = THROTTLE_BITS["sw_power_cap"] if gpu.power_capped else 0
    return (hot if gpu.found["throttled"] else idle) | capped


def _on_off(value: object) -> str:
    return "Enabled" if value else "Disabled"


def _ecc(errors: Callable[[Gpu], Value]) -> Reader:
    return lambda gpu: errors(gpu) if gpu.ecc_enabled else None


def _ecc_mode(gpu: Gpu, when: str) -> Value:
    return _on_off(gpu.found[f"ecc_{when}"] or gpu.row_remap_pending) if gpu.has_ecc else None


def _used_memory(row: Any) -> Value:
    """Of a process inside a MIG instance the card as a whole does not tell it."""
    return None if "gi" in row[1] else int(row[1]["used_mib"])


def _throttle(bit: int) -> Reader:
    return lambda gpu: "Active" if throttle_bits(gpu) & bit else "Not Active"


def _pre_ampere(value: Value) -> Reader:
    """Pages are retired on cards before Ampere; later ones remap rows."""
    old = {"Pascal", "Volta", "Turing"}
    return lambda g: value if g.found.get("architecture") in old and g.has_ecc else None


def _fabric_state(gpu: Gpu) -> Value:
    """With its odd prefix; a card that is on no fabric says N/A without brackets."""
    return f"state  {gpu.fabric_state}" if gpu.fabric_state else "N/A"


def _yes_no(value: Callable[[Gpu], bool]) -> Reader:
    """A word on drivers from RECOVERY_SINCE on, a number before."""
    return lambda g: ("Yes" if value(g) else "No") if recovers(g.driver_version) else int(value(g))


def recovers(driver: str) -> bool:
    """Whether a driver recommends an action instead of telling whether a reset is required."""
    return int(driver.split(".")[0]) >= RECOVERY_SINCE


def forgotten(driver: str) -> set[str]:
    """Fields that other drivers know: a query with one of them fails as a whole."""
    return RESET_STATUS if recovers(driver) else {"gpu_recovery_action"}


QUERY_GPU: dict[str, Field] = {
    "timestamp": ("", lambda g: timestamp()),
    "count": ("", lambda g: len(g.host["gpus"])),
    "driver_version": ("", lambda g: g.driver_version),
    "index": ("", lambda g: g.index),
    "name": ("", lambda g: g.name),
    "uuid": ("", lambda g: g.uuid),
    "serial": ("", lambda g: g.serial),
    "compute_cap": ("", lambda g: g.found["compute_cap"]),
    "vbios_version": ("", lambda g: g.vbios),
    "pci.bus_id": ("", lambda g: g.bus_id),
    "pci.bus": ("", lambda g: f"0x{g.bus_id.split(':')[1]}"),
    "pci.domain": ("", lambda g: f"0x{g.bus_id[:8][-4:]}"),
    "pci.device": ("", lambda g: f"0x{g.bus_id.split(':')[2][:2]}"),
    "pci.device_id": ("", lambda g: g.found["pci_device_id"]),
    "pci.sub_device_id": ("", lambda g: g.found.get("pci_sub_device_id", "0x146710DE")),
    "pcie.link.gen.current": ("", lambda g: g.pcie_gen if g.busy else 1),
    "pcie.link.gen.max": ("", lambda g: g.pcie_gen),
    "pcie.link.width.current": ("", lambda g: 8 if g.found["pcie_narrow"] else 16),
    "pcie.link.width.max": ("", lambda g: 16),
    "display_mode": ("", lambda g: "Disabled"),
    "display_active": ("", lambda g: "Disabled"),
    "persistence_mode": ("", lambda g: _on_off(g.found["persistence"])),
    "addressing_mode": ("", lambda g: "HMM" if not g.data_centre else "None"),
    "compute_mode": ("", lambda g: g.found["compute_mode"]),
    "accounting.mode": ("", lambda g: "Disabled"),
    "pstate": ("", lambda g: g.pstate),
    "fan.speed": ("%", lambda g: g.fan_percent),
    "memory.total": ("MiB", lambda g: g.found["memory_total_mib"]),
    "memory.reserved": ("MiB", lambda g: g.found["memory_reserved_mib"]),
    "memory.used": ("MiB", lambda g: g.found["memory_used_mib"]),
    "memory.free": ("MiB", lambda g: g.found["memory_free_mib"]),
    "utilization.gpu": ("%", lambda g: g.utilization_percent),
    "utilization.memory": ("%", lambda g: g.memory_utilization_percent),
    "temperature.gpu": ("", lambda g: g.temperature_c),
    "temperature.gpu.tlimit": ("", lambda g: 87 - g.temperature_c if g.data_centre else None),
    "temperature.memory": ("", lambda g: g.temperature_c + 7 if g.data_centre else "N/A"),
    "power.draw": ("W", lambda g: g.power_draw_w),
    "power.draw.average": ("W", lambda g: g.power_draw_w),
    "power.draw.instant": ("W", lambda g: g.power_draw_w),
    "power.limit": ("W", lambda g: g.power_limit_w),
    "enforced.power.limit": ("W", lambda g: g.power_limit_w),
    "power.default_limit": ("W", lambda g: g.found["power_default_w"]),
    "power.min_limit": ("W", lambda g: g.found["power_min_w"]),
    "power.max_limit": ("W", lambda g: g.found["power_max_w"]),
    "clocks.current.graphics": ("MHz", lambda g: g.sm_mhz),
    "clocks.current.sm": ("MHz", lambda g: g.sm_mhz),
    "clocks.current.memory": ("MHz", lambda g: g.memory_mhz),
    "clocks.max.graphics": ("MHz", lambda g: g.found["graphics_clock_max_mhz"]),
    "clocks.max.sm": ("MHz", lambda g: g.found["graphics_clock_max_mhz"]),
    "clocks.max.memory": ("MHz", lambda g: g.found["memory_clock_max_mhz"]),
    "mig.mode.current": ("", lambda g: g.mig_mode("current")),
    "mig.mode.pending": ("", lambda g: g.mig_mode("pending")),
    "gsp.mode.current": ("", lambda g: "Enabled"),
    "gsp.mode.default": ("", lambda g: "Enabled"),
    "ecc.mode.current": ("", lambda g: _ecc_mode(g, "current")),
    "ecc.mode.pending": ("", lambda g: _ecc_mode(g, "pending")),
    **{
        f"ecc.errors.corrected.{when}.{where}": ("", _ecc(lambda g: 0))
        for when in ("volatile", "aggregate")
        for where in ("dram", "sram", "device_memory", "total")
    },
    **{
        f"ecc.errors.uncorrected.{when}.{where}": ("", _ecc(lambda g: 3 if g.ecc_broken else 0))
        for when in ("volatile", "aggregate")
        for where in ("dram", "device_memory", "total")
    },
    "ecc.errors.uncorrected.volatile.sram": ("", _ecc(lambda g: 0)),
    "ecc.errors.uncorrected.aggregate.sram": ("", _ecc(lambda g: 0)),
    "retired_pages.single_bit_ecc.count": ("", _pre_ampere(0)),
    "retired_pages.double_bit.count": ("", _pre_ampere(0)),
    "retired_pages.pending": ("", _pre_ampere("No")),
    **{field: ("", lambda g: "No") for field in sorted(RESET_STATUS)},
    "gpu_recovery_action": ("", lambda g: g.recovery_action),
    "fabric.state": ("", _fabric_state),
    "fabric.status": ("", lambda g: FABRIC_STATUS.get(g.fabric_state, "N/A")),
    "clocks_event_reasons.supported": ("", lambda g: "0x00000000000001FF"),
    "clocks_event_reasons.active": ("", lambda g: f"0x{throttle_bits(g):016X}"),
    **{
        f"clocks_event_reasons.{reason}": ("", _throttle(bit))
        for reason, bit in THROTTLE_BITS.items()
    },
}  # fmt: skip

# These take (gpu, process).
QUERY_COMPUTE_APPS: dict[str, Field] = {
    "timestamp": ("", lambda row: timestamp()),
    "gpu_name": ("", lambda row: row[0].name),
    "gpu_bus_id": ("", lambda row: row[0].bus_id),
    "gpu_serial": ("", lambda row: row[0].serial),
    "gpu_uuid": ("", lambda row: row[0].uuid),
    "pid": ("", lambda row: row[1]["pid"]),
    "process_name": ("", lambda row: row[1]["name"]),
    "used_gpu_memory": ("MiB", _used_memory),
}

QUERY_REMAPPED_ROWS: dict[str, Field] = {
    "gpu_name": ("", lambda g: g.name),
    "gpu_bus_id": ("", lambda g: g.bus_id),
    "gpu_serial": ("", lambda g: g.serial),
    "gpu_uuid": ("", lambda g: g.uuid),
    "remapped_rows.correctable": ("", _ecc(lambda g: 0)),
    "remapped_rows.uncorrectable": ("", _ecc(lambda g: 1 if g.ecc_broken else 0)),
    "remapped_rows.pending": ("", _ecc(_yes_no(lambda g: g.row_remap_pending))),
    "remapped_rows.failure": ("", _ecc(_yes_no(lambda g: False))),
}

QUERY_RETIRED_PAGES: dict[str, Field] = {
    "gpu_uuid": ("", lambda g: g.uuid),
    "retired_pages.address": ("", lambda g: None),
    "retired_pages.cause": ("", lambda g: None),
}

ALIASES = {
    "gpu_name": "name",
    "gpu_uuid": "uuid",
    "gpu_serial": "serial",
    "gpu_bus_id": "pci.bus_id",
    "clocks.gr": "clocks.current.graphics",
    "clocks.sm": "clocks.current.sm",
    "clocks.mem": "clocks.current.memory",
    "clocks.max.gr": "clocks.max.graphics",
    "clocks.max.mem": "clocks.max.memory",
    "retired_pages.sbe": "retired_pages.single_bit_ecc.count",
    "retired_pages.dbe": "retired_pages.double_bit.count",
    "used_memory": "used_gpu_memory",
    "name": "process_name",
}
