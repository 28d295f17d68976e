"""What keeps a plan from a host, in words with a remedy."""

from dataclasses import replace

import pytest

from ollama_fleet.hardware.found import Hardware, parse_gpus
from ollama_fleet.planner.provision import DriverRequest, Provision
from ollama_fleet.preflight import HostFacts, hardware_problems, is_model, problems
from tests.unit.examples import UUIDS, gpu, hardware, host_plan

PLAN = host_plan({"name": "a", "gpus": [0]}, gpus=[{"model": "RTX 3090", "count": 2}])
GOOD = HostFacts(True, "amd64", "x86_64", "apt", 252, (), hardware(2))
GOOD = replace(GOOD, distribution=("debian", "12"))


def test_a_good_host_has_no_problem() -> None:
    assert problems(PLAN, GOOD) == []


def gpus(**changes: object) -> Hardware:
    found = tuple(replace(gpu(position), **changes) for position in range(2))
    return replace(hardware(2), gpus=found)


CASES = [
    ({"is_root": False}, "log in as root or set `ssh: {sudo: true}`"),
    ({"systemd": None}, "systemd is not running"),
    ({"systemd": 237}, "systemd 237 is too old; 239 or newer"),
    ({"arch": "arm64", "machine": "aarch64"}, "no checksum of Ollama 0.32.15 for arm64"),
    ({"arch": None, "machine": "riscv64"}, "riscv64 is no architecture"),
    ({"distribution": ("arch", "")}, "arch is none that a driver can be installed on"),
    ({"distribution": ("centos", "7")}, "centos 7 is none that a driver can be installed on"),
    ({"missing_commands": ("curl",), "package_family": None}, "curl missing and no apt or dnf"),
    ({"hardware": Hardware()}, "no NVIDIA GPU on the PCI bus"),
    ({"hardware": gpus(lost=True)}, "is lost; reboot the host"),
    ({"hardware": gpus(name="NVIDIA GeForce RTX 4090")}, "the inventory expects GPUs"),
    ({"hardware": replace(hardware(2), pci_gpus=("a", "b", "c"))}, "3 NVIDIA GPUs on the PCI bus"),
]


@pytest.mark.parametrize(("changes", "words"), CASES, ids=[case[1][:30] for case in CASES])
def test_what_is_wrong_is_said(changes: dict, words: str) -> None:
    assert any(words in problem for problem in problems(PLAN, replace(GOOD, **changes)))


TWO_CARDS = Hardware(pci_gpus=("0000:10:00.0", "0000:11:00.0"), smi_code=127, smi_message="none")
DRIVERLESS = [
    (TWO_CARDS, "nvidia-smi is not installed"),
    (replace(TWO_CARDS, smi_code=9, smi_message="couldn't"), "the NVIDIA driver is not loaded"),
    (replace(TWO_CARDS, smi_code=18, smi_message="mismatch"), "are of different versions"),
    (gpus(driver_version="535.1.2"), "driver 535.1.2 is too old"),
    (replace(hardware(2), loaded_driver="570.1"), "570.1 is loaded, but 580.95.05"),
]


@pytest.mark.parametrize(("found", "words"), DRIVERLESS, ids=[case[1][:30] for case in DRIVERLESS])
def test_a_driver_that_does_not_serve_is_ours_to_mend_unless_it_is_not_ours(
    found: Hardware, words: str
) -> None:
    """The driver step comes after preflight; when it has been, its words are said all the same."""
    facts = replace(GOOD, hardware=found)
    assert problems(PLAN, facts) == []
    hands_off = replace(PLAN, provision=Provision(driver=DriverRequest(manage=False)))
    for said in (problems(hands_off, facts), hardware_problems(PLAN, found)):
        assert any(words in problem for problem in said)


def test_any_distribution_will_do_for_a_driver_that_is_not_ours() -> None:
    hands_off = replace(PLAN, provision=Provision(driver=DriverRequest(manage=False)))
    assert problems(hands_off, replace(GOOD, distribution=("arch", ""))) == []


def test_cards_are_counted_before_there_is_a_driver() -> None:
    one = replace(TWO_CARDS, pci_gpus=TWO_CARDS.pci_gpus[:1])
    (problem,) = problems(PLAN, replace(GOOD, hardware=one))
    assert "expects 2 GPUs, 1 NVIDIA GPUs are on the PCI bus (0000:10:00.0)" in problem


def test_no_driver_mends_a_card_that_fell_off_the_bus() -> None:
    gone = replace(TWO_CARDS, smi_code=15, smi_message="GPU is lost")
    (problem,) = problems(PLAN, replace(GOOD, hardware=gone))
    assert "fell off the bus" in problem


def test_a_host_without_slices_needs_no_gpu() -> None:
    assert problems(host_plan(), replace(GOOD, hardware=Hardware())) == []


def test_unified_memory_that_is_not_told_is_no_lost_gpu() -> None:
    row = (
        f"0, {UUIDS[0]}, NVIDIA GB10, 00000000:01:00.0, 580.95.05, [N/A], [N/A], 12.1, 40, Enabled"
    )
    row += ", [N/A]" * 3
    (found,) = parse_gpus(row, {})
    assert found.memory_total_mib is None and not found.lost


@pytest.mark.parametrize(
    ("found", "memory_mib", "wanted", "same"),
    [
        ("NVIDIA GeForce RTX 3090", 24576, "RTX 3090", True),
        ("NVIDIA GeForce RTX 3090", 24576, "3090", True),
        ("NVIDIA GeForce RTX 3090", 24576, "NVIDIA GeForce RTX 3090", True),
        ("NVIDIA GeForce RTX 3090 Ti", 24564, "RTX 3090", False),
        ("NVIDIA H100 80GB HBM3", 81559, "H100", True),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100", True),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100 80GB", True),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100 40GB", False),
        ("NVIDIA GeForce RTX 3060", 12288, "RTX 3060 12GB", True),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX 6000", False),
    ],
)
def test_a_model_is_known_by_its_words_and_memory(
    found: str, memory_mib: int, wanted: str, same: bool
) -> None:
    assert is_model(gpu(0, name=found, memory_total_mib=memory_mib), wanted) == same


def test_models_that_do_not_fit_the_gpus_found_are_refused() -> None:
    """An inventory that names no GPUs is checked as soon as the host has said what it has."""
    plan = host_plan({"name": "a", "gpus": [0], "models": ["llama3:70b"]})
    (problem,) = problems(plan, GOOD)
    assert "slice 'a'" in problem and "llama3:70b" in problem
