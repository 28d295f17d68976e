"""NVSwitch hosts of the lab need a fabric manager of just the driver's version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost, wait_until

VERSION = "580.95.05"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    """Driver loaded, no fabric manager yet."""
    with SimHost(tmp_path, hardware(load_profile("bare-8x-h100"), "unit01")) as host:
        host.install(VERSION)
        host.run("modprobe", "nvidia")
        host.run("modprobe", "nvidia-uvm")
        yield host


def states(host: SimHost) -> set[str]:
    return {row[0] for row in host.query("fabric.state")}


def test_without_fabric_manager_nvidia_smi_looks_healthy_and_cuda_fails(host: SimHost) -> None:
    assert len(host.query("uuid")) == 8
    assert states(host) == {"state  In Progress"}
    _, answer = host.hold("ollama", {host.hardware["gpus"][0]["uuid"]: 1})
    assert answer == {"error": "error 802: system not yet initialized"}


def test_matching_fabric_manager_makes_the_gpus_usable_while_it_runs(host: SimHost) -> None:
    manager = host.start("nv-fabricmanager", "--built-for", VERSION)
    wait_until(lambda: states(host) == {"state  Completed"})
    uuid = host.hardware["gpus"][0]["uuid"]
    assert host.hold("ollama", {uuid: 1})[1] == {"ok": True}

    host.fault("fabric-manager-dead")

    assert manager.wait(5) == 1
    assert states(host) == {"state  In Progress"}
    assert "802" in host.hold("other", {uuid: 1})[1]["error"]
    assert host.run("nv-fabricmanager", "--built-for", VERSION).returncode == 1


def test_fabric_manager_of_another_version_refuses_to_start(host: SimHost) -> None:
    refused = host.run("nv-fabricmanager", "--built-for", "580.178.04")

    assert refused.returncode == 1
    assert "version 580.178.04 don't match with driver version 580.95.05" in refused.stderr
    assert states(host) == {"state  In Progress"}


def test_running_fabric_manager_keeps_the_driver_loaded(host: SimHost) -> None:
    manager = host.start("nv-fabricmanager", "--built-for", VERSION)
    wait_until(lambda: states(host) == {"state  Completed"})
    host.run("rmmod", "nvidia_uvm")
    assert "in use" in host.run("rmmod", "nvidia").stderr

    manager.terminate()
    manager.wait(5)

    wait_until(lambda: host.run("rmmod", "nvidia").returncode == 0)


def test_fabric_manager_needs_switches_and_a_loaded_driver(tmp_path: Path) -> None:
    with SimHost(tmp_path / "a", hardware(load_profile("2x-rtx3090"), "unit01")) as without:
        refused = without.run("nv-fabricmanager", "--built-for", VERSION)
        assert refused.returncode == 1 and "NVSwitch devices not detected" in refused.stderr
    with SimHost(tmp_path / "b", hardware(load_profile("bare-8x-h100"), "unit01")) as bare:
        assert bare.run("nv-fabricmanager", "--built-for", VERSION).returncode == 1
