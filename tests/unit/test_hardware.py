"""Text of nvidia-smi, /proc and PCI; the odd lines are recorded ones."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.hardware.found import (
    GPU_FIELDS,
    HARDWARE_QUESTIONS,
    Gpu,
    normal_bus_id,
    number,
    parse_gpus,
    parse_loaded_driver,
    parse_minors,
    parse_pci,
    parse_processes,
    read_hardware,
)
from ollama_fleet.questions import Answer
from ollama_fleet.top.gpu_rows import read_rows

SMI = """\
0, GPU-b, NVIDIA RTX A5000, 00000000:65:00.0, 580.95.05, 24576, 312, 8.6, 41, Enabled, [N/A], [N/A], [N/A]
1, GPU-a, NVIDIA GeForce RTX 3090, 00000000:17:00.0, 580.95.05, 24576, 1, 8.6, 38, Disabled, 0, [N/A], [N/A]
"""
LOST = "2, GPU-c, NVIDIA H100, 00000000:1A:00.0, 580.95.05, " + ", ".join(["[GPU is lost]"] * 8)
MINORS = """\
/proc/driver/nvidia/gpus/0000:17:00.0/information:Device Minor: \t 1
/proc/driver/nvidia/gpus/0000:65:00.0/information:Device Minor: \t 0
"""


def gpus(text: str) -> tuple[Gpu, ...]:
    return parse_gpus(text, parse_minors(MINORS))


def test_gpus_come_in_pci_order_with_their_own_minors() -> None:
    first, second = gpus(SMI)
    assert (first.uuid, first.pci_bus_id, first.minor) == ("GPU-a", "0000:17:00.0", 1)
    assert (second.uuid, second.minor, second.memory_used_mib) == ("GPU-b", 0, 312)


def test_no_number_is_none_and_never_zero() -> None:
    first, second = gpus(SMI)
    assert second.ecc_uncorrected is None
    assert first.ecc_uncorrected == 0


def test_a_lost_gpu_is_seen_though_nvidia_smi_exits_well() -> None:
    (lost,) = gpus(LOST)
    assert lost.lost
    assert lost.compute_cap is None and lost.persistence is None


READ = {
    **{"index": "2", "uuid": "GPU-c", "name": "NVIDIA H100", "pci.bus_id": "00000000:1A:00.0"},
    **{
        "driver_version": "580.95.05",
        "memory.total": "81559",
        "memory.used": "1",
        "compute_cap": "9.0",
    },
    **{"temperature.gpu": "40", "persistence_mode": "Enabled"},
}


@pytest.mark.parametrize(
    ("field", "said", "lost"),
    [
        ("uuid", "[Unknown Error]", True),
        ("name", "[Unknown Error]", True),
        ("memory.used", "[Unknown Error]", True),
        ("temperature.gpu", "[Unknown Error]", True),
        ("temperature.gpu", "[GPU requires reset]", True),
        ("temperature.gpu", "[N/A]", False),
        # Some cards have no number for these, and are well.
        ("ecc.errors.uncorrected.volatile.total", "[Unknown Error]", False),
        ("mig.mode.current", "[Unknown Error]", False),
    ],
)
def test_a_card_that_cannot_say_what_every_card_knows_is_lost(
    field: str, said: str, lost: bool
) -> None:
    cells = dict.fromkeys(GPU_FIELDS, "[N/A]") | READ | {field: said}
    (found,) = gpus(", ".join(cells.values()))
    assert found.lost is lost


def test_a_power_limit_that_cannot_be_read_is_no_lost_card() -> None:
    """As it is on cards that compute at full speed."""
    fields = {**READ, "power.limit": "[Unknown Error]", "power.draw": "228.82"}
    for row, lost in ((fields, False), (fields | {"memory.total": "[Unknown Error]"}, True)):
        ((found,), _, _) = read_rows(",".join(row), [", ".join(row.values()), "code 0"])
        assert found.lost is lost and found.power_limit_w is None


@pytest.mark.parametrize(
    "text",
    ["[N/A]", "N/A", "[Not Supported]", "[GPU is lost]", "[Insufficient Permissions]",
     "[Unknown Error]", "ERR!", "[GPU requires reset]", ""],
)  # fmt: skip
def test_every_non_value_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("text", ["00000000:1A:00.0", "0000:1a:00.0", "1a:00.0", " 1A:00.0 "])
def test_pci_addresses_are_brought_to_one_form(text: str) -> None:
    assert normal_bus_id(text) == "0000:1a:00.0"


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (x)",
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build",
    ],
)
def test_loaded_driver_of_both_flavours(line: str) -> None:
    assert parse_loaded_driver(line) == "580.95.05"


def test_only_display_functions_of_nvidia_are_gpus() -> None:
    text = """\
0000:65:00.0 0x10de 0x030200
0000:17:00.0 0x10de 0x030000
0000:17:00.1 0x10de 0x040300
0000:c0:00.0 0x10de 0x068000
0000:00:02.0 0x8086 0x030000
"""
    assert parse_pci(text) == ("0000:17:00.0", "0000:65:00.0")


def test_processes_with_unknown_memory_are_kept() -> None:
    text = "GPU-a, 4711, /opt/ollama/x/llama-server, 5210\nGPU-a, 12, python, [N/A]\n"
    assert [(item.pid, item.used_mib) for item in parse_processes(text)] == [
        (4711, 5210),
        (12, None),
    ]


def test_nvidia_smi_s_complaint_is_kept_when_it_shows_no_gpus() -> None:
    smi = Answer("Failed to initialize NVML: Driver/library version mismatch\n", 18)
    answers = dict.fromkeys(("minors", "driver", "uvm", "pci"), Answer()) | {"smi": smi}
    found = read_hardware(answers)
    assert found.gpus == () and found.smi_code == 18
    assert "version mismatch" in found.smi_message


def test_a_row_without_an_index_is_no_gpu_0() -> None:
    row = (
        "[Unknown Error], GPU-1, NVIDIA H100, 00000000:1A:00.0, 580.95.05, 1, 1, 9.0, 1, Enabled, 0"
    )
    row += ", [N/A], [N/A]"
    assert parse_gpus(row, {}) == ()


@pytest.mark.parametrize(("driver", "seen"), [("nvidia", True), ("vfio-pci", False), (None, True)])
def test_a_card_that_is_handed_to_a_virtual_machine_is_not_counted(
    tmp_path: Path, driver: str | None, seen: bool
) -> None:
    function = tmp_path / "devices/0000:17:00.0"
    function.mkdir(parents=True)
    (function / "vendor").write_text("0x10de\n")
    (function / "class").write_text("0x030000\n")
    if driver:
        (tmp_path / f"drivers/{driver}").mkdir(parents=True)
        (function / "driver").symlink_to(f"../../drivers/{driver}")
    asked = HARDWARE_QUESTIONS["pci"].replace("/sys/bus/pci", str(tmp_path))
    done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True)
    assert parse_pci(done.stdout) == (("0000:17:00.0",) if seen else ())
