"""What -q says of a GPU's present state: load, memory, errors, sensors, processes."""

from __future__ import annotations

from .report_items import Item, reader
from .view import Gpu

REASONS = {
    "Idle": "gpu_idle",
    "Applications Clocks Setting": "applications_clocks_setting",
    "SW Power Cap": "sw_power_cap",
    "HW Slowdown": "hw_slowdown",
    "HW Thermal Slowdown": "hw_thermal_slowdown",
    "HW Power Brake Slowdown": "hw_power_brake_slowdown",
    "Sync Boost": "sync_boost",
    "SW Thermal Slowdown": "sw_thermal_slowdown",
}


def load(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    reasons: list[Item] = [
        (label, f"clocks_event_reason_{name}", read(f"clocks_event_reasons.{name}"))
        for label, name in REASONS.items()
    ]
    return [
        ("Fan Speed", "fan_speed", read("fan.speed")),
        ("Performance State", "performance_state", gpu.pstate),
        ("Clocks Event Reasons", "clocks_event_reasons", reasons),
    ]


def memory(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    framebuffer: list[Item] = [
        (word, word.lower(), read(f"memory.{word.lower()}"))
        for word in ("Total", "Reserved", "Used", "Free")
    ]
    utilization: list[Item] = [
        ("GPU", "gpu_util", read("utilization.gpu")),
        ("Memory", "memory_util", read("utilization.memory")),
    ]
    return [
        ("FB Memory Usage", "fb_memory_usage", framebuffer),
        ("Utilization", "utilization", utilization),
    ]


def ecc(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    mode: list[Item] = [
        (word, f"{word.lower()}_ecc", read(f"ecc.mode.{word.lower()}"))
        for word in ("Current", "Pending")
    ]
    remapped: list[Item] = [
        ("Correctable Error", "remapped_row_corr", read("remapped_rows.correctable")),
        ("Uncorrectable Error", "remapped_row_unc", read("remapped_rows.uncorrectable")),
        ("Pending", "remapped_row_pending", "Yes" if gpu.row_remap_pending else "No"),
        ("Remapping Failure Occurred", "remapped_row_failure", "No"),
    ]
    return [
        ("ECC Mode", "ecc_mode", mode),
        ("ECC Errors", "ecc_errors", [_errors(gpu, word) for word in ("Volatile", "Aggregate")]),
        ("Remapped Rows", "remapped_rows", remapped if gpu.ecc_enabled else "N/A"),
    ]


def _errors(gpu: Gpu, word: str) -> Item:
    read, when = reader(gpu), word.lower()
    kinds = (
        ("SRAM Correctable", "corrected", "sram"),
        ("SRAM Uncorrectable Parity", "uncorrected", "sram"),
        ("SRAM Uncorrectable SECDED", "uncorrected", "sram"),
        ("DRAM Correctable", "corrected", "dram"),
        ("DRAM Uncorrectable", "uncorrected", "dram"),
    )
    counters: list[Item] = [
        (label, label.lower().replace(" ", "_"), read(f"ecc.errors.{kind}.{when}.{memory}"))
        for label, kind, memory in kinds
    ]
    return word, when, counters


def sensors(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    temperature: list[Item] = [
        ("GPU Current Temp", "gpu_temp", _degrees(read("temperature.gpu"))),
        ("GPU T.Limit Temp", "gpu_temp_tlimit", _degrees(read("temperature.gpu.tlimit"))),
        ("Memory Current Temp", "memory_temp", _degrees(read("temperature.memory"))),
    ]
    power: list[Item] = [
        ("Power State", "power_state", gpu.pstate),
        ("Average Power Draw", "average_power_draw", read("power.draw.average")),
        ("Instantaneous Power Draw", "instant_power_draw", read("power.draw.instant")),
        ("Current Power Limit", "current_power_limit", read("power.limit")),
        ("Default Power Limit", "default_power_limit", read("power.default_limit")),
        ("Min Power Limit", "min_power_limit", read("power.min_limit")),
        ("Max Power Limit", "max_power_limit", read("power.max_limit")),
    ]
    clocks: list[Item] = [
        ("Graphics", "graphics_clock", read("clocks.current.graphics")),
        ("SM", "sm_clock", read("clocks.current.sm")),
        ("Memory", "mem_clock", read("clocks.current.memory")),
    ]
    most: list[Item] = [
        ("Graphics", "graphics_clock", read("clocks.max.graphics")),
        ("SM", "sm_clock", read("clocks.max.sm")),
        ("Memory", "mem_clock", read("clocks.max.memory")),
    ]
    return [
        ("Temperature", "temperature", temperature),
        ("GPU Power Readings", "gpu_power_readings", power),
        ("Clocks", "clocks", clocks),
        ("Max Clocks", "max_clocks", most),
    ]


def _degrees(text: str) -> str:
    return text if text == "N/A" else f"{text} C"


def processes(gpu: Gpu) -> list[Item]:
    rows: list[Item] = [("Process", "process_info", _process(process)) for process in gpu.processes]
    return [("Processes", "processes", rows)]


def _process(process: dict[str, object]) -> list[Item]:
    return [
        ("GPU instance ID", "gpu_instance_id", str(process.get("gi", "N/A"))),
        ("Compute instance ID", "compute_instance_id", str(process.get("ci", "N/A"))),
        ("Process ID", "pid", str(process["pid"])),
        ("Type", "type", "C"),
        ("Name", "process_name", str(process["name"])),
        ("Used GPU Memory", "used_memory", f"{process['used_mib']} MiB"),
    ]
