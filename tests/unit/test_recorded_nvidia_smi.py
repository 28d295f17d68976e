"""Lines that real nvidia-smi and a real kernel print, as they were recorded, against every parser that reads
such lines. What is no number is None, never 0."""

from dataclasses import fields
from pathlib import Path

import pytest

from ollama_fleet.checks.gpu_values import read_table, read_xids
from ollama_fleet.driver.state import _flavour
from ollama_fleet.hardware.found import (
    GPU_FIELDS,
    Gpu,
    normal_bus_id,
    number,
    parse_gpus,
    parse_loaded_driver,
    parse_processes,
    read_hardware,
)
from ollama_fleet.questions import Answer
from tests.unit.gpu_findings import judged, trouble
from tests.unit.test_checks_driver import SWITCHED, result, status
from tests.unit.test_mig_instances import found as instances_of

# index, memory.used, clocks_event_reasons.active, clocks_event_reasons.hw_thermal_slowdown,
# mig.mode.current of four H100, the last of which is lost; nvidia-smi's exit code was 0.
FOUR_H100 = """\
0, 40960, 0x0000000000000001, Not Active, Disabled
1, 0, 0x0000000000000040, Active, Disabled
2, 0, 0x0000000000000001, Not Active, Enabled
3, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]
"""
NO_VALUES = (
    *("[N/A]", "N/A", "[Not Supported]", "[GPU is lost]", "[Insufficient Permissions]"),
    *("[Unknown Error]", "ERR!", "[GPU requires reset]"),
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for {}  580.95.05  Release Build  (x@y)  Tue Sep 23"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
NOT_LOADED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that "
    "the latest NVIDIA driver is installed and running."
)
NO_LIBRARY = "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system."


def gpu(**changes: str) -> Gpu:
    """One H100 with every value at which a parser looks, but for `changes`."""
    row = dict.fromkeys(GPU_FIELDS, "[N/A]") | {
        "index": "0",
        "uuid": "GPU-01000100-0000-0000-0000-000000000000",
        "name": "NVIDIA H100 80GB HBM3",
        "pci.bus_id": "00000000:1A:00.0",
        "driver_version": "550.163.01",
        "memory.total": "81920",
        "compute_cap": "9.0",
        "persistence_mode": "Enabled",
    }
    (found,) = parse_gpus(", ".join((row | changes).values()), {})
    return found


@pytest.mark.parametrize("text", NO_VALUES)
def test_no_value_becomes_a_number(text: str) -> None:
    """In any column that holds one."""
    columns = {
        "memory.total": "memory_total_mib",
        "memory.used": "memory_used_mib",
        "temperature.gpu": "temperature_c",
        "ecc.errors.uncorrected.volatile.total": "ecc_uncorrected",
        "persistence_mode": "persistence",
        "compute_cap": "compute_cap",
    }
    assert number(text) is None
    assert set(columns) <= set(GPU_FIELDS)
    assert set(columns.values()) <= {field.name for field in fields(Gpu)}
    found = gpu(**dict.fromkeys(columns, text))
    assert [getattr(found, name) for name in columns.values()] == [None] * len(columns)


@pytest.mark.parametrize(
    ("row", "used", "wrong", "lost"),
    [
        (0, 40960, {}, False),
        (1, 0, {"throttling": "too hot: slowed down by its hardware"}, False),
        (2, 0, {}, False),
        (3, None, {"gpu health": "lost: it does not answer the driver"}, True),
    ],
)
def test_four_h100_of_which_one_is_hot_and_one_is_lost(
    row: int, used: int | None, wrong: dict[str, str], lost: bool
) -> None:
    index, memory, reasons, _, mode = FOUR_H100.splitlines()[row].split(", ")
    found = gpu(**{"index": index, "memory.used": memory, "mig.mode.current": mode})
    assert (found.index, found.memory_used_mib, found.lost) == (int(index), used, lost)
    table = read_table(f"#clocks_event_reasons.active\n{found.uuid}, {reasons}")
    assert trouble(found, table[found.uuid]) == wrong


def test_addresses_have_a_domain_of_eight_digits_in_capitals() -> None:
    assert gpu().pci_bus_id == "0000:1a:00.0" == normal_bus_id("0000:1A:00.0")


@pytest.mark.parametrize(
    ("line", "flavour"),
    [
        (CLOSED, "proprietary"),
        (OPEN.format("x86_64"), "open"),
        (OPEN.format("aarch64"), "open"),
    ],
)
def test_one_line_of_the_kernel_tells_version_and_flavour(line: str, flavour: str) -> None:
    assert (parse_loaded_driver(line), _flavour(line)) == ("580.95.05", flavour)


@pytest.mark.parametrize("version", ["550.163.01", "580.95.05", "610.57.04", "535.261"])
def test_versions_of_two_and_three_parts(version: str) -> None:
    assert parse_loaded_driver(CLOSED.replace("580.95.05", version)) == version


def test_no_driver_is_no_version() -> None:
    assert parse_loaded_driver("grep: /proc/driver/nvidia/version: No such file") is None
    assert _flavour("") is None


@pytest.mark.parametrize(
    ("said", "code"),
    [(NOT_LOADED, 9), (NO_LIBRARY, 12), (MISMATCH, 18), ("No devices were found", 6)],
)
def test_what_nvidia_smi_says_instead_of_gpus_is_kept(said: str, code: int) -> None:
    answers = dict.fromkeys(("minors", "driver", "uvm", "pci"), Answer())
    hardware = read_hardware({**answers, "smi": Answer(f"{said}\n", code)})
    assert (hardware.gpus, hardware.smi_code, hardware.smi_message) == ((), code, said)


def test_a_field_that_the_driver_does_not_know_is_no_gpu() -> None:
    assert parse_gpus('Field "x" is not a valid field to query.', {}) == ()


def test_a_list_of_processes_may_be_empty_or_without_numbers() -> None:
    assert parse_processes("gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n") == ()
    (inside_mig,) = parse_processes("GPU-1, 4711, /usr/bin/python3, [N/A]\n")
    assert inside_mig.used_mib is None


def test_rows_that_cannot_be_had_are_not_judged() -> None:
    """Remapped rows of a lost card, and a query of which only the header came."""
    table = read_table("#remapped_rows.pending,remapped_rows.failure\nGPU-1, [N/A], [N/A]\n")
    assert "row remapping" not in judged(gpu(), table["GPU-1"])
    assert read_table("#remapped_rows.pending\n") == {}


@pytest.mark.parametrize("text", NO_VALUES)
def test_a_query_of_health_without_values_accuses_nobody(text: str) -> None:
    fields = (
        *("retired_pages.pending", "clocks_event_reasons.active", "pcie.link.width.current"),
        *("pcie.link.width.max", "remapped_rows.pending", "remapped_rows.failure"),
    )
    assert judged(gpu(), dict.fromkeys(fields, text)) <= {"gpu health", "ecc", "xid"}
    assert trouble(gpu(), dict.fromkeys(fields, text)) == {}


def test_xids_of_the_kernel_log_name_card_and_code() -> None:
    line = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', GPU has fallen off the bus."
    assert read_xids(line) == {"0000:3b:00.0": [79]}


def test_the_state_of_the_fabric_has_an_odd_prefix() -> None:
    assert status("fabric", **SWITCHED, health__fabric="state  Completed") == "ok"
    waiting = result("fabric", **SWITCHED, health__fabric="state  In Progress")
    assert waiting and waiting.failed


def test_instances_are_listed_below_their_gpu(tmp_path: Path) -> None:
    """The line of `-L`, as it is with any number of blanks."""
    listed = (
        "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-01000100-0000-0000-0000-000000000000)\n"
        "  MIG 3g.40gb     Device  0: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000002)\n"
        "  MIG 2g.20gb     Device  1: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000003)\n"
        "  MIG 2g.20gb     Device  2: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000005)\n"
    )
    cut, _ = instances_of(tmp_path, L=listed)
    assert [item.uuid[-1] for item in cut.instances] == ["3", "5", "2"]
