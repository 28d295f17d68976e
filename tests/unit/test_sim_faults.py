"""Each fault of the simulated driver shows where it would on a real host, and goes again."""

from __future__ import annotations

import json
import os
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost, wait_until

ASKS = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b'{"op": "devices"}\\n'); print(s.makefile().readline())
"""
LOST = "[GPU is lost]"
UVM_NODES = {"nvidia-uvm", "nvidia-uvm-tools"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        yield host


@pytest.fixture
def uuids(host: SimHost) -> list[str]:
    return [gpu["uuid"] for gpu in host.hardware["gpus"]]


def test_lost_gpu_shows_in_values_while_queries_still_succeed(
    host: SimHost, uuids: list[str]
) -> None:
    host.fault("gpu-lost", gpu=1)

    assert host.query("index,uuid,memory.used") == [["0", uuids[0], "1"], ["1", LOST, LOST]]
    assert LOST in host.smi("-L").splitlines()[1]
    plain = host.run("nvidia-smi")
    assert plain.returncode == 15 and "GPU is lost" in plain.stdout
    second = list(ET.fromstring(host.smi("-q", "-x")).iter("gpu"))[1]
    assert second.findtext("fb_memory_usage/used") == "GPU is lost"
    assert [gpu["state"] for gpu in host.ask("devices")["gpus"]] == ["ok", "lost"]
    assert (host.hw / "pci/0000:31:00.0/vendor").exists()


def test_lost_gpu_drops_its_processes_and_takes_no_new_ones(
    host: SimHost, uuids: list[str]
) -> None:
    host.hold("first", {uuids[0]: 1000, uuids[1]: 2000})

    host.fault("gpu-lost", gpu="1")

    assert [p["gpu_uuid"] for p in host.ask("processes")["processes"]] == [uuids[0]]
    assert host.hold("next", {uuids[1]: 1})[1] == {"error": f"GPU is lost: {uuids[1]}"}
    assert host.hold("other", {uuids[0]: 1})[1] == {"ok": True}


def test_healed_gpu_is_empty_and_usable(host: SimHost, uuids: list[str]) -> None:
    host.hold("first", {uuids[1]: 2000})
    host.fault("gpu-lost", gpu=1)
    assert host.query("uuid")[1] == [LOST]

    host.heal("gpu-lost")

    assert host.query("uuid,memory.used")[1] == [uuids[1], "1"]
    assert host.smi()


def test_wrong_driver_stops_nvml_and_shows_the_loaded_version(
    host: SimHost, uuids: list[str]
) -> None:
    host.fault("wrong-driver", version="575.57.08")

    for arguments in ([], ["-L"], ["--query-gpu=index", "--format=csv"], ["-q", "-x"]):
        result = host.run("nvidia-smi", *arguments)
        assert result.returncode == 18
        assert result.stdout == (
            "Failed to initialize NVML: Driver/library version mismatch\n"
            "NVML library version: 580.95\n"
        )
    assert "575.57.08" in (host.hw / "proc-driver/nvidia/version").read_text()
    assert (host.hw / "sys-module/nvidia/version").read_text() == "575.57.08\n"
    driver = host.ask("devices")["driver"]
    assert (driver["mismatch"], driver["version"]) == (True, "575.57.08")
    assert "mismatch" in host.hold("ollama", {uuids[0]: 1})[1]["error"]


def test_missing_uvm_takes_nodes_and_module_but_not_nvidia_smi(
    host: SimHost, uuids: list[str]
) -> None:
    host.fault("uvm-missing")

    wait_until(lambda: not UVM_NODES & host.nodes(), limit_s=1)  # nobody asked
    assert not (host.hw / "sys-module/nvidia_uvm").exists()
    assert (host.hw / "sys-module/nvidia").exists()
    assert host.ask("devices")["driver"]["uvm"] is False
    assert "uvm" in host.hold("ollama", {uuids[0]: 1})[1]["error"]
    assert len(host.query("uuid")) == 2

    host.heal("uvm-missing")

    wait_until(lambda: host.nodes() >= UVM_NODES, limit_s=1)
    assert host.hold("ollama", {uuids[0]: 1})[1] == {"ok": True}


@pytest.mark.parametrize("profile", ["2x-rtx3090", "2x-a100-80gb"])
def test_ecc_errors_show_in_counters_and_recovery_action(tmp_path: Path, profile: str) -> None:
    fields = "ecc.errors.uncorrected.volatile.total,gpu_recovery_action"
    with SimHost(tmp_path, hardware(load_profile(profile), "unit01")) as host:
        host.fault("ecc", gpu=1)

        healthy, broken = host.query(fields)
        report = ET.fromstring(host.smi("-q", "-x"))
        remapped = host.smi(
            "--query-remapped-rows=gpu_uuid,remapped_rows.pending", "--format=csv,noheader"
        )

    assert healthy == ["[N/A]" if "rtx" in profile else "0", "None"]
    assert broken == ["3", "Reset"]
    actions = [gpu.findtext("gpu_recovery_action") for gpu in report.iter("gpu")]
    assert actions == ["None", "Reset"]
    dram = [g.findtext("ecc_errors/volatile/dram_uncorrectable") for g in report.iter("gpu")]
    assert dram == [healthy[0].strip("[]"), "3"]
    assert remapped.splitlines()[1].endswith(", Yes")


def test_faults_of_ollama_are_passed_on_with_their_parameters(host: SimHost) -> None:
    host.fault("ollama-slow", seconds=3)

    assert host.ask("devices")["faults"] == {"ollama-slow": {"seconds": 3}}


def test_removed_node_stays_away_until_a_tool_makes_it_again(host: SimHost) -> None:
    makers = [
        ("modprobe", "nvidia-uvm"),
        ("modprobe", "nvidia_uvm"),
        ("nvidia-modprobe", "-u", "-c=0"),
    ]
    for maker in makers:
        for node in UVM_NODES:
            (host.dev / node).unlink()
        host.fault("ollama-slow", seconds=len(maker))
        host.ask("devices")
        assert not UVM_NODES & host.nodes()

        assert host.run(*maker).returncode == 0

        assert host.nodes() >= UVM_NODES


def test_modprobe_cannot_load_a_module_that_is_not_there(host: SimHost) -> None:
    host.fault("uvm-missing")

    result = host.run("modprobe", "nvidia-uvm")

    assert result.returncode == 1
    assert "FATAL: Module nvidia-uvm not found" in result.stderr
    assert host.run("nvidia-modprobe", "-u").returncode == 1
    assert not UVM_NODES & host.nodes()


def test_modprobe_of_other_modules_succeeds_silently(host: SimHost) -> None:
    if os.path.exists("/sbin/modprobe.real"):  # noqa: PTH110
        pytest.skip("this machine's own modprobe is diverted")
    result = host.run("modprobe", "-q", "overlay")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_narrow_link_shows_in_its_width_only(host: SimHost) -> None:
    host.fault("pcie-narrow", gpu=1)

    fields = "pcie.link.width.current,pcie.link.width.max"
    assert host.query(fields) == [["16", "16"], ["8", "16"]]
    host.heal("pcie-narrow")
    assert host.query(fields) == [["16", "16"], ["16", "16"]]


def test_a_card_that_the_driver_does_not_serve_is_on_the_bus_only(host: SimHost) -> None:
    host.fault("card-unsupported", device="0x1b80")

    assert len(host.query("index")) == 2
    assert (host.hw / "pci/0000:e1:00.0/device").read_text().strip() == "0x1b80"
    host.heal("card-unsupported")
    assert len(host.query("index")) == 2
    assert not (host.hw / "pci/0000:e1:00.0").exists()


def test_a_lost_gpu_that_waits_for_a_reset_comes_back_with_it(host: SimHost) -> None:
    (host.hw / "hardware.json").write_text(json.dumps({**host.hardware, "drm_blocks_reset": False}))
    host.fault("gpu-lost", gpu=1, until="reset")
    assert [gpu["state"] for gpu in host.ask("devices")["gpus"]] == ["ok", "lost"]

    assert host.run("nvidia-smi", "-i", "0000:17:00.0", "-r").returncode == 0
    assert [gpu["state"] for gpu in host.ask("devices")["gpus"]] == ["ok", "lost"]
    assert host.run("nvidia-smi", "-i", "0000:31:00.0", "-r").returncode == 0
    assert [gpu["state"] for gpu in host.ask("devices")["gpus"]] == ["ok", "ok"]


def test_a_fault_that_waits_for_a_restart_is_not_one_of_processes_that_came_later(
    host: SimHost,
) -> None:
    host.fault("ollama-hung", until="restart")
    host.fault("ollama-on-cpu", until="restart")
    assert set(host.ask("devices")["faults"]) == {"ollama-hung", "ollama-on-cpu"}
    assert [gpu["state"] for gpu in host.ask("devices")["gpus"]] == ["lost", "lost"]

    time.sleep(0.05)  # the kernel counts starts in hundredths of a second
    later = subprocess.run(
        ["/usr/bin/python3", "-c", ASKS, str(host.socket)], capture_output=True, text=True
    )
    answer = json.loads(later.stdout)
    assert answer["faults"] == {}
    assert [gpu["state"] for gpu in answer["gpus"]] == ["ok", "ok"]


def test_a_hang_that_waits_for_an_unload_ends_when_a_model_goes(
    host: SimHost, uuids: list[str]
) -> None:
    runner, _ = host.hold("runner", {uuids[0]: 1000})
    host.fault("ollama-hung", until="unload")
    assert "ollama-hung" in host.ask("devices")["faults"]

    runner.kill()

    wait_until(lambda: host.ask("devices")["faults"] == {})
