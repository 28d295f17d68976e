"""Cutting a lab host's card into MIG instances: what fits, in which order, and what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_cards, load_profile
from lab.sim.labsim.partition import Partition
from lab.sim.labsim.profiles import layout_of
from lab.sim.testing import SimHost
from tests.unit.mig_host import IN_USE, ampere, devices, enable, hopper, names, placements


@pytest.fixture
def a100(tmp_path: Path) -> Iterator[SimHost]:
    with ampere(tmp_path) as host:
        yield host


@pytest.fixture
def h100(tmp_path: Path) -> Iterator[SimHost]:
    with hopper(tmp_path) as host:
        yield host


def test_smallest_first_fails_midway_and_leaves_what_it_made(a100: SimHost) -> None:
    enable(a100, "-i", "0")

    result = a100.run("nvidia-smi", "mig", "-cgi", "19,19,14,9", "-C")

    assert result.returncode == 23
    assert result.stdout.endswith(
        "Unable to create a GPU instance on GPU  0 using profile 9: Insufficient Resources\n"
        "Failed to create GPU instances: Insufficient Resources\n"
    )
    assert placements(a100) == {"3": "0:2", "11": "4:1", "13": "6:1"}
    assert names(a100) == ["2g.20gb", "1g.10gb", "1g.10gb"]


def test_largest_first_fits(a100: SimHost) -> None:
    enable(a100, "-i", "0")

    a100.smi("mig", "-i", "0", "-cgi", "9,19,14,19", "-C")

    assert placements(a100) == {"2": "4:4", "4": "2:2", "7": "0:1", "8": "1:1"}
    assert sorted(names(a100)) == ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("19,19,19,19,19,19,19", 7),
        ("1g.10gb,MIG 1g.10gb,19", 3),
        ("15,15,15,15", 4),
        ("14,14,14", 3),
        ("9,14,14", 3),
        ("9,9", 2),
        ("5,14,19", 3),
        ("19,14,5", 3),
        ("0", 1),
        ("20,19,19,19,19,19,19", 7),
        ("9:0,9:4", 2),
        ("19:2,5:0", 1),
        ("20,20", 1),
        ("0,19", 1),
        ("9,9,19", 2),
        ("14,14,9", 2),
        ("9:2", 0),
        ("3g.20gb", 0),
        ("-1", 0),
    ],
)
def test_what_fits_follows_from_the_slices(h100: SimHost, wanted: str, count: int) -> None:
    enable(h100)
    h100.run("nvidia-smi", "mig", "-cgi", wanted, "-C")
    assert len(names(h100)) == count


def test_every_mig_card_can_be_filled_with_each_of_its_profiles() -> None:
    known = ["20B0", "20B5", "2330", "2321", "2342", "2335", "2901", "2941", "3182", "20B7", "2BB5"]
    card = hardware(load_profile("8x-h100"), "unit01")["gpus"][0]
    for device in known:
        layout = layout_of({**card, "pci_device_id": f"0x{device}10DE"})
        assert layout, device
        for profile in layout.profiles:
            cut = Partition("GPU-x", 0, layout)
            made = [cut.create(str(profile.id)).id for _ in range(profile.most)]
            assert len(set(made)) == profile.most and cut.free_starts(profile) == []


def test_cards_that_can_be_cut_have_profiles_and_no_others_do() -> None:
    for card in load_cards().values():
        gpu = {"mig_capable": card.mig_capable, "pci_device_id": f"0x{card.pci_device}10DE"}
        assert (layout_of(gpu) is not None) == card.mig_capable, card.name


def test_instances_go_bottom_up(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "9,9", "-C")

    early = a100.run("nvidia-smi", "mig", "-dgi")
    assert early.returncode == 19
    assert early.stdout == (
        f"Unable to destroy GPU instance ID  1 from GPU  0: {IN_USE}\n"
        f"Failed to destroy GPU instances: {IN_USE}\n"
    )
    a100.smi("mig", "-dci", "-gi", "1")
    assert len(names(a100)) == 1
    a100.smi("mig", "-dgi", "-gi", "1")
    assert list(placements(a100)) == ["2"]
    a100.smi("mig", "-dci")
    a100.smi("mig", "-dgi", "-i", "0")
    nothing = a100.run("nvidia-smi", "mig", "-dci")
    assert (nothing.returncode, nothing.stdout) == (6, "No compute instances found: Not Found\n")


def test_gpu_instance_without_compute_instance_is_no_device(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "9")
    assert names(a100) == []

    a100.smi("mig", "-cci", "0,1c.3g.40gb", "-gi", "2")
    assert names(a100) == ["1c.3g.40gb", "1c.3g.40gb"]
    a100.smi("mig", "-cci", "0")
    assert a100.run("nvidia-smi", "mig", "-cci", "0").returncode == 23


def test_compute_instances_share_the_memory_of_their_gpu_instance(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "9")
    a100.smi("mig", "-cci", "0,0")
    first, second = (uuid for _, uuid in devices(a100))
    a100.hold("one", {first: 30000})

    assert "out of memory" in a100.hold("two", {second: 12000})[1]["error"]


def test_uuid_follows_from_gpu_and_ids(a100: SimHost) -> None:
    enable(a100, "-i", "0")
    a100.smi("mig", "-cgi", "19,19", "-C")
    before = dict(map(reversed, devices(a100)))
    assert len(before) == 2 and all(uuid[18] == "5" for uuid in before)

    a100.reboot()
    a100.smi("mig", "-cgi", "19,19", "-C")

    assert dict(map(reversed, devices(a100))) == before


def test_only_mig_gpus_are_cut(a100: SimHost) -> None:
    result = a100.run("nvidia-smi", "mig", "-cgi", "9")
    assert (result.returncode, result.stdout) == (0, "No MIG-enabled devices found.\n")
    enable(a100, "-i", "1")

    a100.smi("mig", "-cgi", "9", "-C")

    assert a100.smi("mig", "-lci").count("3g.40gb") == 1
    assert "|   1      2       MIG 3g.40gb" in a100.smi("mig", "-lci")
