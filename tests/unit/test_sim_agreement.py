"""Every way of asking a lab host for its GPUs gives the same answer."""

from __future__ import annotations

import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost

PROFILES = ["2x-rtx3090", "mixed", "2x-a100-80gb", "8x-h100"]


@pytest.fixture(scope="module", params=PROFILES)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimHost]:
    folder = tmp_path_factory.mktemp("sim")
    with SimHost(folder, hardware(load_profile(request.param), "unit01")) as host:
        yield host


def expected(host: SimHost) -> list[tuple[str, str]]:
    return [(gpu["name"], gpu["uuid"]) for gpu in host.hardware["gpus"]]


def test_all_outputs_of_nvidia_smi_name_the_same_gpus(host: SimHost) -> None:
    listed = re.findall(r"^GPU \d+: (.+) \(UUID: (GPU-[0-9a-f-]+)\)$", host.smi("-L"), re.M)
    queried = [tuple(row) for row in host.query("name,uuid")]
    report = ET.fromstring(host.smi("-q", "-x"))
    reported = [(g.findtext("product_name"), g.findtext("uuid")) for g in report.iter("gpu")]
    asked = [(gpu["name"], gpu["uuid"]) for gpu in host.ask("devices")["gpus"]]

    assert listed == queried == reported == asked == expected(host)
    assert report.findtext("attached_gpus") == str(len(expected(host)))
    assert all(gpu["pci_bus_id"] in host.smi() for gpu in host.hardware["gpus"])


def test_report_agrees_with_the_query_on_memory_and_minors(host: SimHost) -> None:
    rows = host.query("memory.total,memory.reserved,memory.used,memory.free")
    report = ET.fromstring(host.smi("-q", "-x"))

    for gpu, row, known in zip(report.iter("gpu"), rows, host.hardware["gpus"], strict=True):
        words = ("total", "reserved", "used", "free")
        assert [gpu.findtext(f"fb_memory_usage/{word}") for word in words] == [
            f"{value} MiB" for value in row
        ]
        total, *parts = map(int, row)
        assert total == sum(parts) == known["memory_total_mib"]
        assert gpu.findtext("minor_number") == str(known["minor"])


def test_proc_and_device_nodes_follow_the_minor_not_the_index(host: SimHost) -> None:
    for gpu in host.hardware["gpus"]:
        bus = gpu["pci_bus_id"].lower()[-12:]
        text = (host.hw / f"proc-driver/nvidia/gpus/{bus}/information").read_text()
        node = (host.dev / f"nvidia{gpu['minor']}").stat()

        assert re.search(rf"^Device Minor: +\t {gpu['minor']}$", text, re.M)
        assert re.search(rf"^GPU UUID: +\t {gpu['uuid']}$", text, re.M)
        assert stat.S_ISCHR(node.st_mode) and stat.S_IMODE(node.st_mode) == 0o666
        assert node.st_rdev & 0xFF == 20 + gpu["minor"]


def test_gpus_are_found_on_the_pci_bus_among_other_devices(host: SimHost) -> None:
    found = []
    for folder in sorted((host.hw / "pci").iterdir()):
        vendor, device, kind = (
            (folder / n).read_text().strip() for n in ("vendor", "device", "class")
        )
        if vendor == "0x10de" and kind.startswith(("0x0300", "0x0302")):
            found.append((folder.name, device))

    assert found == [
        (gpu["pci_bus_id"].lower()[-12:], "0x" + gpu["pci_device_id"].lower()[2:6])
        for gpu in host.hardware["gpus"]
    ]
    assert len(list((host.hw / "pci").iterdir())) > len(found)


def test_loaded_version_is_the_same_everywhere(host: SimHost) -> None:
    version = host.hardware["driver"]["version"]
    first = (host.hw / "proc-driver/nvidia/version").read_text().splitlines()[0]

    assert re.search(r"Open Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+\.\d+)", first)[1] == version  # type: ignore[index]
    assert (host.hw / "sys-module/nvidia/version").read_text().strip() == version
    assert (host.hw / "sys-module/nvidia_uvm").is_dir()
    assert {row[0] for row in host.query("driver_version")} == {version}


def test_unloading_leaves_the_pci_bus_and_nothing_else(tmp_path: Path) -> None:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        pci, proc, modules = (host.hw / name for name in ("pci", "proc-driver", "sys-module"))
        before = (pci.stat().st_ino, proc.stat().st_ino)

    assert (pci.stat().st_ino, proc.stat().st_ino) == before  # bind mounts must stay
    assert host.nodes() == set()
    assert not list(proc.iterdir()) and not list(modules.iterdir())
    assert len(list(pci.iterdir())) > len(host.hardware["gpus"])
    assert host.run("nvidia-smi").returncode == 9


def test_a_host_that_is_being_made_shows_its_pci_devices(tmp_path: Path) -> None:
    host = SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01"))

    assert host.run("lab-driver", "--unloaded").returncode == 0

    assert (host.hw / "pci/0000:17:00.0/class").read_text() == "0x030000\n"
    assert not (host.hw / "proc-driver/nvidia").exists()
