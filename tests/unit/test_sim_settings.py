"""Power limit, clocks, ECC and compute mode of a lab host's GPUs: what takes effect and how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost

POWER = "power.limit,power.min_limit,power.max_limit,power.default_limit,enforced.power.limit"
ECC = "ecc.mode.current,ecc.mode.pending"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("2x-a100-80gb"), "unit01")) as host:
        yield host


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        yield host


def uuids(host: SimHost) -> list[str]:
    return [gpu["uuid"] for gpu in host.hardware["gpus"]]


def test_power_limit_holds_until_the_reboot(host: SimHost) -> None:
    bus = host.hardware["gpus"][1]["pci_bus_id"]

    said = host.smi("-i", "1", "-pl", "200")

    assert f"Power limit for GPU {bus} was set to 200.00 W from 300.00 W.\n" in said
    assert f"Warning: persistence mode is disabled on device {bus}." in said
    assert said.endswith("All done.\n")
    whole = ["300.00", "100.00", "300.00", "300.00", "300.00"]
    assert host.query(POWER) == [whole, ["200.00", "100.00", "300.00", "300.00", "200.00"]]
    assert "/  200W" in host.smi()
    host.reboot()
    assert host.query(POWER) == [whole, whole]


@pytest.mark.parametrize("watts", ["99", "301", "many"])
def test_power_limit_out_of_range_is_refused(host: SimHost, watts: str) -> None:
    result = host.run("nvidia-smi", "-pl", watts)

    assert result.returncode == 2
    if watts != "many":
        assert (
            f"Provided power limit {watts}.00 W is not a valid power limit which should be between "
            "100.00 W and 300.00 W for GPU 00000000:17:00.0\n"
        ) in result.stdout
    assert {row[0] for row in host.query(POWER)} == {"300.00"}


def test_low_power_limit_shows_as_a_power_cap_under_load(host: SimHost) -> None:
    fields = "clocks_event_reasons.active,clocks_event_reasons.sw_power_cap,power.draw"
    host.smi("-i", "0", "-pl", "100")
    assert host.query(fields)[0][:2] == ["0x0000000000000001", "Not Active"]

    host.hold("ollama", dict.fromkeys(uuids(host), 1000))

    assert host.query(fields)[0] == ["0x0000000000000004", "Active", "100.00"]
    assert host.query(fields)[1][:2] == ["0x0000000000000000", "Not Active"]


def test_locked_clocks_show_only_in_the_clocks_themselves(host: SimHost) -> None:
    fields = "clocks.sm,clocks.gr,clocks.mem,clocks.max.sm,clocks.max.mem"
    free = ["210", "210", "405", "1410", "1512"]
    assert host.query(fields)[0] == free

    said = host.smi("-i", "0", "-lgc", "900,1200")
    host.smi("-i", "0", "-lmc", "1512")

    assert 'GPU clocks set to "(gpuClkMin 900, gpuClkMax 1200)" for GPU 00000000:17:00.0' in said
    assert host.query(fields) == [["900", "900", "1512", "1410", "1512"], free]
    host.hold("ollama", {uuids(host)[0]: 1000})
    assert host.query(fields)[0][0] == "1200"
    assert "1200 MHz" in host.smi("-q", "-d", "CLOCK", "-i", "0")
    host.smi("-rgc")
    assert host.query(fields)[0][0] == "1410"
    host.smi("-rmc", "-i", "0")
    host.smi("-lgc", "300")
    assert host.query(fields)[1][0] == "300"
    host.reboot()
    assert host.query(fields) == [free, free]


@pytest.mark.parametrize("clocks", ["1200,900", "fast", "1,2,3"])
def test_clocks_that_are_none_are_refused(host: SimHost, clocks: str) -> None:
    assert host.run("nvidia-smi", "-lgc", clocks).returncode == 2


def test_report_can_be_cut_to_sections(host: SimHost) -> None:
    text = host.smi("-q", "-d", "ECC,POWER", "-i", "0")
    assert re.findall(r"^    (\S.*)$", text, re.M) == [
        "ECC Mode",
        "ECC Errors",
        "GPU Power Readings",
    ]
    assert host.run("nvidia-smi", "-q", "-d", "NONSENSE").returncode == 2


def test_ecc_waits_for_the_reboot_and_then_stays(host: SimHost) -> None:
    said = host.smi("-i", "0", "-e", "0")
    assert said.startswith("Disabled ECC support for GPU 00000000:17:00.0.\n")
    assert said.endswith("All done.\nReboot required.\n")
    assert host.query(ECC) == [["Enabled", "Disabled"], ["Enabled", "Enabled"]]

    host.reboot()
    assert host.query(ECC) == [["Disabled", "Disabled"], ["Enabled", "Enabled"]]
    assert host.query("ecc.errors.uncorrected.volatile.total")[0] == ["[N/A]"]
    host.reboot()

    assert host.query(ECC)[0] == ["Disabled", "Disabled"]
    assert host.smi("-i", "0", "-e", "0").startswith("ECC support is already Disabled")


def test_reset_puts_ecc_in_force_and_settings_back(host: SimHost) -> None:
    host.run("rmmod", "nvidia_drm")
    host.smi("-e", "0")
    host.smi("-pl", "150")

    host.smi("-r")

    assert host.query(ECC) == [["Disabled", "Disabled"]] * 2
    assert host.query("power.limit") == [["300.00"]] * 2


def test_card_without_ecc_only_warns(desktop: SimHost) -> None:
    said = desktop.smi("-e", "1")
    assert "Changing ECC mode is not supported" in said and "Treating as warning" in said
    assert desktop.query(ECC) == [["[N/A]"] * 2] * 2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("0", "Default"),
        ("1", "Exclusive_Process"),
        ("2", "Prohibited"),
        ("3", "Exclusive_Process"),
        ("DEFAULT", "Default"),
        ("EXCLUSIVE_PROCESS", "Exclusive_Process"),
        ("prohibited", "Prohibited"),
    ],
)
def test_compute_mode_by_number_or_name(desktop: SimHost, given: str, shown: str) -> None:
    desktop.smi("-i", "1", "-c", given)

    assert desktop.query("compute_mode") == [["Default"], [shown]]
    assert {len(line) for line in desktop.smi().splitlines()[1:] if line} == {91}
    desktop.reboot()
    assert desktop.query("compute_mode") == [["Default"]] * 2


def test_compute_mode_keeps_processes_away(desktop: SimHost) -> None:
    first, second = uuids(desktop)
    desktop.smi("-i", "0", "-c", "2")
    desktop.smi("-i", "1", "-c", "EXCLUSIVE_PROCESS")

    assert "prohibited" in desktop.hold("ollama", {first: 10})[1]["error"]
    assert desktop.hold("ollama", {second: 10})[1] == {"ok": True}
    assert "exclusive" in desktop.hold("other", {second: 10})[1]["error"]
    assert desktop.run("nvidia-smi", "-c", "4").returncode == 2


def test_exclusive_process_does_not_go_with_mig(host: SimHost) -> None:
    host.run("rmmod", "nvidia_drm")
    host.smi("-i", "0", "-mig", "1")

    result = host.run("nvidia-smi", "-i", "0", "-c", "3")

    assert result.returncode == 3 and "Not Supported" in result.stdout
    assert host.query("compute_mode")[0] == ["Default"]
