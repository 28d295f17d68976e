"""MIG devices of a lab host: how they are shown, who may use them, what they give."""

from __future__ import annotations

import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.sim.testing import SimHost
from tests.unit.mig_host import IN_USE, ampere, caps, devices, enable, hopper


@pytest.fixture
def a100(tmp_path: Path) -> Iterator[SimHost]:
    with ampere(tmp_path) as host:
        yield host


@pytest.fixture
def h100(tmp_path: Path) -> Iterator[SimHost]:
    with hopper(tmp_path) as host:
        yield host


def test_profiles_are_listed_with_mig_still_off(a100: SimHost) -> None:
    lines = a100.smi("mig", "-i", "0", "-lgip").splitlines()

    assert {len(line) for line in lines} == {81}
    assert (
        "|   0  MIG 1g.10gb         19     7/7        9.50       No     14     0     0   |" in lines
    )
    assert (
        "|   0  MIG 3g.40gb          9     2/2        39.25      No     42     2     0   |" in lines
    )
    assert a100.smi("mig", "-i", "0", "-lgipp").splitlines()[-1] == (
        "GPU  0 Profile ID  0 Placement : {0}:8"
    )


def test_free_profiles_shrink_with_each_instance(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "9", "-C")
    free = dict(re.findall(r"MIG (\S+) +\d+ +(\d)/\d", h100.smi("mig", "-lgip")))
    assert free["3g.40gb"] == "1" and free["1g.10gb"] == "4" and free["7g.80gb"] == "0"


def test_tables_are_as_wide_as_the_real_ones(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "9,14,14", "-C")
    for option, width in (("-lgi", 57), ("-lci", 70), ("-lcip", 88), ("-lgip", 81)):
        text = h100.smi("mig", option)
        assert {len(line) for line in text.splitlines()} == {width}
    assert {len(line) for line in h100.smi().splitlines()[1:] if line} == {91}


def test_report_joins_to_the_list_by_index(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "9,14,14", "-C")
    uuid = devices(h100)[2][1]
    holder, _ = h100.hold("/opt/ollama/llama-server", {uuid: 12000})

    gpu = next(ET.fromstring(h100.smi("-q", "-x")).iter("gpu"))

    found = list(gpu.iter("mig_device"))
    assert [each.findtext("index") for each in found] == ["0", "1", "2"]
    assert [each.findtext("fb_memory_usage/total") for each in found] == [
        f"{mib} MiB" for _, mib in sorted(zip((2, 3, 4), (40448, 20096, 20096), strict=True))
    ]
    assert found[2].findtext("fb_memory_usage/used") == "12013 MiB"
    assert found[0].findtext("device_attributes/shared/multiprocessor_count") == "60"
    assert "uuid" not in {child.tag for child in found[0].iter()}
    process = gpu.find("processes/process_info")
    assert process is not None and process.findtext("gpu_instance_id") == "4"
    apps = "--query-compute-apps=gpu_uuid,pid,used_memory"
    assert h100.smi(apps, "--format=csv,noheader,nounits").strip() == (
        f"{h100.hardware['gpus'][0]['uuid']}, {holder.pid}, [N/A]"
    )
    assert f"|    0     4    0 {holder.pid:>15}      C" in h100.smi()


def test_card_in_mig_mode_knows_no_utilization(h100: SimHost) -> None:
    enable(h100)
    assert h100.query("utilization.gpu,utilization.memory") == [["[N/A]", "[N/A]"]]
    assert "No MIG devices found" in h100.smi()


def test_memory_comes_only_from_instances(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    gpu = a100.hardware["gpus"][0]["uuid"]
    assert "no such device" in a100.hold("ollama", {gpu: 1})[1]["error"]
    a100.smi("mig", "-cgi", "9,14,14", "-C")
    three = dict(devices(a100))["3g.40gb"]

    assert "out of memory" in a100.hold("big", {three: 40193})[1]["error"]
    assert a100.hold("fits", {three: 40000})[1] == {"ok": True}
    assert int(a100.query("memory.used")[0][0]) == 1 + 3 * 13 + 40000


def test_instance_in_use_cannot_be_destroyed(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "9,9", "-C")
    busy = devices(a100)[0][1]
    holder, _ = a100.hold("ollama", {busy: 100})

    refused = a100.run("nvidia-smi", "mig", "-dci")
    assert refused.returncode == 19 and f"Failed to destroy compute instances: {IN_USE}" in (
        refused.stdout
    )
    assert a100.run("nvidia-smi", "-r", "-i", "0").returncode == 255
    holder.kill()
    holder.wait()
    a100.smi("mig", "-dci")


def test_capability_nodes_come_and_go_with_their_instance(a100: SimHost) -> None:
    enable(a100, "-i", "1")
    assert caps(a100) == {"nvidia-cap1", "nvidia-cap2"}

    a100.smi("mig", "-cgi", "9,9", "-C")

    root = a100.hw / "proc-driver/nvidia/capabilities/gpu1/mig"
    text = (root / "gi1/ci0/access").read_text()
    minor = int(text.splitlines()[0].removeprefix("DeviceFileMinor: "))
    assert text == f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
    table = dict(
        line.split(" ")
        for line in (a100.hw / "proc-driver/nvidia-caps/mig-minors").read_text().splitlines()
    )
    assert table["gpu1/gi1/ci0/access"] == str(minor) and table["config"] == "1"
    assert table["gpu0/gi0/access"] == "3"
    node = (a100.dev / f"nvidia-caps/nvidia-cap{minor}").stat()
    assert stat.S_ISCHR(node.st_mode) and stat.S_IMODE(node.st_mode) == 0o444
    assert len({(a100.dev / "nvidia-caps" / name).stat().st_rdev for name in caps(a100)}) == 6

    a100.smi("mig", "-dci", "-gi", "1")
    assert not (root / "gi1/ci0").exists() and f"nvidia-cap{minor}" not in caps(a100)
    a100.smi("mig", "-dgi", "-gi", "1")
    assert not (root / "gi1").exists() and (root / "gi2/ci0/access").exists()


def test_removed_capability_node_is_made_again(h100: SimHost) -> None:
    enable(h100)
    h100.smi("mig", "-cgi", "0", "-C")
    for name in caps(h100):
        (h100.dev / "nvidia-caps" / name).unlink()

    access = "/proc/driver/nvidia/capabilities/gpu0/mig/gi0/access"
    assert h100.run("nvidia-modprobe", "-f", access).returncode == 0

    assert len(caps(h100)) == 4
