"""A driver of the lab serves just the cards that the real one would: flavour and branch matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost


@pytest.mark.parametrize(
    ("profile", "version", "flavour", "served", "says"),
    [
        ("bare-1x-gtx1080", "580.95.05", "proprietary", ["NVIDIA GeForce GTX 1080"], ""),
        ("bare-1x-gtx1080", "580.95.05", "open", [], "RmInitAdapter failed!"),
        ("bare-1x-gtx1080", "595.91.07", "proprietary", [], "580.xx Legacy"),
        ("bare-1x-rtx-pro-6000", "580.95.05", "proprietary", [], "RmInitAdapter failed!"),
        ("bare-1x-rtx-pro-6000", "550.163.01", "open", [], "not supported by the 550.163.01"),
        (
            *("bare-pascal-blackwell", "580.95.05", "open"),
            ["NVIDIA RTX PRO 6000 Blackwell Server Edition"],
            "RmInitAdapter failed!",
        ),
        ("bare-2x-rtx3090", "595.91.07", "open", ["NVIDIA GeForce RTX 3090"] * 2, ""),
        ("bare-2x-rtx3090", "580.95.05", "proprietary", ["NVIDIA GeForce RTX 3090"] * 2, ""),
    ],
)
def test_driver_serves_the_cards_of_its_flavour_and_branch(
    tmp_path: Path, profile: str, version: str, flavour: str, served: list[str], says: str
) -> None:
    with SimHost(tmp_path, hardware(load_profile(profile), "unit01")) as host:
        host.install(version, flavour)

        assert host.run("modprobe", "nvidia").returncode == 0

        assert "nvidia" in host.loaded()
        asked = host.run("nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader")
        if served:
            expected = [f"{n}, {name}" for n, name in enumerate(served)]
            assert asked.stdout.splitlines() == expected
        else:
            assert (asked.returncode, asked.stdout) == (6, "No devices were found\n")
        assert says in host.kernel_log
        assert ("NVRM" in host.kernel_log) == bool(says)


def test_flavour_is_told_by_the_version_file(tmp_path: Path) -> None:
    with SimHost(tmp_path, hardware(load_profile("bare-2x-rtx3090"), "unit01")) as host:
        host.install("580.95.05", "proprietary")
        host.run("modprobe", "nvidia")

        first = (host.hw / "proc-driver/nvidia/version").read_text().splitlines()[0]

    assert first.startswith("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05")


def test_errors_of_a_card_stand_in_the_kernel_log_once(tmp_path: Path) -> None:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        host.fault("xid", gpu=1, xid=95)
        host.ask("devices")
        host.fault("gpu-throttled", gpu=1)
        host.fault("row-remap-pending", gpu=0)

        reasons = host.query("clocks_event_reasons.hw_thermal_slowdown,gpu_recovery_action")

    assert reasons == [["Not Active", "Reset"], ["Active", "None"]]
    lines = [line for line in host.kernel_log.splitlines() if "Xid" in line]
    assert len(lines) == 1 and lines[0].startswith("NVRM: Xid (PCI:0000:31:00): 95,")
