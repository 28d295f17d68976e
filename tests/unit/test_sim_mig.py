"""MIG mode on a lab host behaves as the real driver: what must be reset, what survives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.sim.testing import SimHost
from tests.unit.mig_host import (
    IN_USE,
    MODES,
    ampere,
    caps,
    described,
    enable,
    hopper,
    names,
)


@pytest.fixture
def a100(tmp_path: Path) -> Iterator[SimHost]:
    with ampere(tmp_path) as host:
        yield host


@pytest.fixture
def h100(tmp_path: Path) -> Iterator[SimHost]:
    with hopper(tmp_path) as host:
        yield host


def test_ampere_keeps_the_mode_over_a_reboot_and_loses_the_instances(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-i", "0", "-cgi", "9", "-C")

    a100.reboot()

    assert a100.query(MODES) == [["Enabled"] * 2, ["Disabled"] * 2]
    assert names(a100) == []
    assert a100.run("nvidia-smi", "mig", "-lgi").returncode == 6


def test_hopper_loses_the_mode_with_the_driver(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "9,14,14", "-C")

    h100.reboot()

    assert h100.query(MODES) == [["Disabled"] * 2]
    assert names(h100) == []


def test_reloading_the_module_is_as_good_as_a_reboot(h100: SimHost) -> None:
    enable(h100)
    for module in ("nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"):
        h100.run("rmmod", module)
    assert h100.run("nvidia-smi").returncode == 9

    assert h100.run("modprobe", "nvidia").returncode == 0

    assert h100.query(MODES) == [["Disabled"] * 2]


def test_ampere_in_use_stays_pending_with_exit_code_zero(a100: SimHost) -> None:
    holder, _ = a100.hold("ollama", {a100.hardware["gpus"][0]["uuid"]: 100})

    said = a100.smi("-i", "0", "-mig", "1")

    assert "Warning: MIG mode is in pending enable state for GPU" in said and IN_USE in said
    assert a100.query(MODES)[0] == ["Disabled", "Enabled"]
    assert "Disabled*" in a100.smi()
    assert IN_USE in a100.run("nvidia-smi", "-r", "-i", "0").stdout
    holder.kill()
    holder.wait()
    a100.smi("-r", "-i", "0")
    assert a100.query(MODES)[0] == ["Enabled", "Enabled"]


def test_loaded_nvidia_drm_keeps_an_ampere_card_from_its_reset(tmp_path: Path) -> None:
    with SimHost(tmp_path, described("2x-a100-80gb", 1)) as host:
        host.run("modprobe", "nvidia-drm")
        assert IN_USE in host.smi("-mig", "1")
        assert host.query(MODES) == [["Disabled", "Enabled"]]

        assert host.run("rmmod", "nvidia_drm").returncode == 0
        host.smi("-r")

        assert host.query(MODES) == [["Enabled", "Enabled"]]


def test_where_no_reset_is_possible_the_mode_waits_for_the_reboot(a100: SimHost) -> None:
    a100.fault("gpu-reset-refused")

    said = a100.smi("-i", "0", "-mig", "1")

    assert "pending enable state for GPU 00000000:17:00.0:Not Supported\nReboot the system" in said
    refused = a100.run("nvidia-smi", "-r", "-i", "0")
    assert refused.returncode == 3 and "is not supported" in refused.stdout
    assert a100.query(MODES)[0] == ["Disabled", "Enabled"]
    a100.reboot()
    assert a100.query(MODES)[0] == ["Enabled", "Enabled"]


def test_hopper_needs_no_reset_but_no_client_either(h100: SimHost) -> None:
    h100.run("modprobe", "nvidia-drm")
    holder, _ = h100.hold("ollama", {h100.hardware["gpus"][0]["uuid"]: 100})
    refused = h100.run("nvidia-smi", "-mig", "1")
    assert refused.returncode == 19 and IN_USE in refused.stdout
    assert h100.query(MODES) == [["Disabled"] * 2]
    holder.kill()
    holder.wait()

    enable(h100)


def test_card_without_mig_only_warns(tmp_path: Path) -> None:
    with SimHost(tmp_path, described("2x-rtx3090", 1)) as host:
        said = host.smi("-mig", "1")
        assert "Not Supported" in said and "Treating as warning and moving on." in said
        assert host.query(MODES) == [["[N/A]"] * 2]
        listed = host.run("nvidia-smi", "mig", "-lgip")
        assert (listed.returncode, listed.stdout) == (6, "No MIG-supported devices found.\n")
        assert caps(host) == set()


def test_mode_cannot_go_off_while_instances_exist(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "0")
    assert h100.run("nvidia-smi", "-mig", "0").returncode == 19
    assert h100.query(MODES) == [["Enabled"] * 2]

    h100.smi("mig", "-dgi")
    h100.smi("-mig", "0")

    assert h100.query(MODES) == [["Disabled"] * 2]


def test_ampere_with_instances_only_notes_that_the_mode_is_to_go(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "0", "-C")

    assert "pending disable state" in a100.smi("-i", "0", "-mig", "0")

    assert a100.query(MODES)[0] == ["Enabled", "Disabled"]
    assert names(a100) == ["7g.80gb"]
    a100.reboot()
    assert a100.query(MODES)[0] == ["Disabled"] * 2


def test_reset_destroys_instances(a100: SimHost) -> None:
    enable(a100, "-i", "1")
    a100.smi("mig", "-cgi", "19", "-C")

    a100.smi("-r", "-i", "1")

    assert names(a100) == [] and a100.query(MODES)[1] == ["Enabled"] * 2
