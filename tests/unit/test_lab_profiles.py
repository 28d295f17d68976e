"""Lab profiles and cards as data: they load, they say what hardware.json will say, they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import flavours
from lab.errors import UsageError
from lab.profile import hardware, load_cards, load_profile, load_topology, profile_names
from lab.state import PACKAGE

REQUIRED = {
    "2x-rtx3090": (2, 24576),
    "4x-rtx3090": (4, 24576),
    "8x-rtx3090": (8, 24576),
    "1x-rtx3060": (1, 12288),
    "2x-a100-80gb": (2, 81920),
    "8x-h100": (8, 81559),
    "bare-2x-rtx3090": (2, 24576),
    "bare-1x-gtx1080": (1, 8192),
    "bare-1x-rtx-pro-6000": (1, 97887),
    "1x-a100-40gb": (1, 40960),
}


def profile_from(directory: Path, text: str) -> None:
    (directory / "mine.yml").write_text(text)
    load_profile("mine", directory)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_and_has_unique_places(name: str) -> None:
    gpus = hardware(load_profile(name), "gpu01")["gpus"]

    for key in ("uuid", "pci_bus_id", "minor", "index"):
        assert len({gpu[key] for gpu in gpus}) == len(gpus)
    assert [gpu["pci_bus_id"] for gpu in gpus] == sorted(gpu["pci_bus_id"] for gpu in gpus)


@pytest.mark.parametrize(("name", "expected"), REQUIRED.items())
def test_profile_has_the_cards_its_name_promises(name: str, expected: tuple[int, int]) -> None:
    gpus = hardware(load_profile(name), "gpu01")["gpus"]

    assert (len(gpus), gpus[0]["memory_total_mib"]) == expected


def test_mig_is_for_data_centre_cards_only() -> None:
    capable = {name for name, card in load_cards().items() if card.mig_capable}

    assert capable == {"A100 40GB", "A100 80GB", "H100", "RTX PRO 6000"}


def test_mixed_host_has_minors_that_differ_from_the_order_of_its_gpus() -> None:
    gpus = hardware(load_profile("mixed"), "gpu01")["gpus"]

    assert [(gpu["index"], gpu["minor"]) for gpu in gpus] == [(0, 1), (1, 0)]


def test_uuids_belong_to_a_host_and_stay() -> None:
    profile = load_profile("2x-rtx3090")

    def uuids(host: str) -> list[str]:
        return [gpu["uuid"] for gpu in hardware(profile, host)["gpus"]]

    assert uuids("gpu01") == uuids("gpu01")
    assert not set(uuids("gpu01")) & set(uuids("gpu02"))


def test_driver_is_there_unless_the_profile_says_none() -> None:
    assert hardware(load_profile("2x-rtx3090"), "a")["driver"]["version"] == "580.95.05"
    assert hardware(load_profile("bare-2x-rtx3090"), "a")["driver"] is None
    assert hardware(load_profile("no-gpu"), "a")["driver"] is None


@pytest.mark.parametrize("name", profile_names())
def test_each_profile_is_of_a_distribution_that_the_lab_can_make(name: str) -> None:
    assert load_profile(name).distribution in flavours.distributions()


def test_simulation_is_told_what_the_profile_says_of_its_system() -> None:
    found = hardware(load_profile("two-kernels-2x-rtx3090"), "a")
    assert found["kernels"] == [{"release": "6.99.0-1-amd64", "headers": False}]
    assert (found["headers"], found["nouveau"], found["secure_boot"]) == (True, False, None)
    assert hardware(load_profile("nouveau-1x-rtx3060"), "a")["nouveau"] is True
    assert hardware(load_profile("secureboot-debian12-1x-rtx3060"), "a")["secure_boot"] is True


def test_default_topology_names_profiles_that_exist() -> None:
    topology = load_topology()

    assert {*topology.hosts.values(), topology.default_profile} <= set(profile_names())


def test_unknown_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean '2x-rtx3090'"):
        load_profile("2x-rtx309")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("what: x\ngpus: []\nram_gib: 1\ncpus: 1\ndisk_gib: 9\nraam: 2\n", "raam"),
        ("what: x\ngpus: []\nram_gib: lots\ncpus: 1\ndisk_gib: 9\n", "ram_gib"),
        ("what: x\ngpus: [{card: RTX 3091, count: 1}]\nram_gib: 1\ncpus: 1\ndisk_gib: 9\n", "3090"),
        (
            "what: x\ngpus: [{card: RTX 3090, count: 2}]\nminors: [0, 0]\n"
            "ram_gib: 1\ncpus: 1\ndisk_gib: 9\n",
            "each of 0..1",
        ),
        ("what: [", "not valid YAML"),
    ],
)
def test_bad_profile_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        profile_from(tmp_path, text)

    assert "mine.yml" in str(refusal.value)


def test_the_demo_s_inventory_names_the_hosts_that_the_lab_brings_up() -> None:
    inventory = yaml.safe_load((PACKAGE.parent / "inventory/lab.yml").read_text())["hosts"]
    topology = load_topology().hosts
    assert inventory.keys() == topology.keys()
    for number, (name, host) in enumerate(inventory.items(), start=1):
        assert host["address"] == f"10.77.0.{10 + number}"
        cards = load_profile(topology[name]).card_names
        assert sum(group.get("count", 1) for group in host["gpus"]) == len(cards)
        assert {group["model"] for group in host["gpus"]} == set(cards)


def test_the_demo_shows_a_driver_that_is_installed_and_a_gpu_that_is_cut() -> None:
    inventory = yaml.safe_load((PACKAGE.parent / "inventory/lab.yml").read_text())
    profiles = {name: load_profile(profile) for name, profile in load_topology().hosts.items()}
    assert any(profile.gpus and profile.driver is None for profile in profiles.values())
    assert any("mig" in host for host in inventory["hosts"].values())
    assert {"repository", "key"} <= inventory["driver"].keys()
