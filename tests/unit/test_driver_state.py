"""What a host answers about its driver, read from text; what is no number is None."""

from ollama_fleet.driver.questions import questions
from ollama_fleet.driver.state import Package, State, read_state
from ollama_fleet.planner.provision import DriverRequest
from ollama_fleet.questions import Answer

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (x@y)"
PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 09:55:41 2025"


def state(**texts: str) -> State:
    """The state of a host that answers these questions so, and the others with nothing."""
    answers = {name: Answer("", 1) for name in questions(DriverRequest())}
    for name, text in texts.items():
        answers[f"driver.{name}"] = Answer(text, 0)
    return read_state(answers)


def test_a_host_that_says_nothing_has_nothing() -> None:
    empty = state()
    assert empty.loaded is None and empty.library is None and empty.gpu_ids == ()
    assert not (empty.works or empty.secure_boot or empty.dgx or empty.switches)


def test_flavour_and_version_are_read_from_the_loaded_module() -> None:
    assert (state(loaded=OPEN).loaded, state(loaded=OPEN).loaded_flavour) == ("580.95.05", "open")
    assert state(loaded=PROPRIETARY).loaded_flavour == "proprietary"


def test_gpus_are_display_functions_and_switches_are_bridges() -> None:
    text = """0000:17:00.0 0x2330 0x030200
0000:18:00.0 0x2204 0x030000
0000:18:00.1 0x1aef 0x040300
0000:05:00.0 0x22a3 0x068000"""
    found = state(pci=text)
    assert found.gpu_ids == (0x2330, 0x2204) and found.switches and not found.nvlink5


def test_a_pair_of_bridged_cards_has_no_switches() -> None:
    assert not state(pci="0000:17:00.0 0x2331 0x030200").switches


def test_kernels_with_and_without_a_module() -> None:
    found = state(
        kernel="6.1.0-28-amd64",
        kernels="6.1.0-30-amd64 no - -\n6.1.0-28-amd64 yes 580.95.05 Dual MIT/GPL",
    )
    assert found.on_disk == "580.95.05" and found.disk_flavour == "open"
    assert found.newest_kernel and found.newest_kernel.release == "6.1.0-30-amd64"
    assert found.newest_kernel.module is None and not found.newest_kernel.has_headers


def test_packages_that_are_removed_or_half_installed_are_told_apart() -> None:
    found = state(
        packages="ii |nvidia-smi|580.95.05-1\nrc |nvidia-old|470.1-1\n"
        "iF |nvidia-kernel-open-dkms|580.95.05-1\nun |nvidia-x|\nii |nvidia-container-toolkit|1.20.0-1"
    ).packages
    assert found == (
        Package("nvidia-smi", "580.95.05-1"),
        Package("nvidia-kernel-open-dkms", "580.95.05-1", broken=True),
    )


def test_a_packages_version_holds_the_drivers() -> None:
    for text in ("580.95.05-1", "3:580.95.05-1.el9", "580.95.05-0ubuntu0.24.04.1"):
        assert Package("x", text).driver_version == "580.95.05"
    assert Package("nvidia-modprobe", "5-1").driver_version is None


def test_the_user_space_is_the_target_of_nvml() -> None:
    assert (
        state(library="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05").library == "580.95.05"
    )
    assert state(library="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").library is None


def test_where_an_installed_package_comes_from() -> None:
    policy = """nvidia-kernel-dkms:
  Installed: 535.261.03-1
  Candidate: 580.95.05-1
  Version table:
     580.95.05-1 600
        600 https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64  Packages
 *** 535.261.03-1 500
        500 http://deb.debian.org/debian bookworm/non-free amd64 Packages
        100 /var/lib/dpkg/status
"""
    assert state(sources=policy).origins == frozenset({"http://deb.debian.org/debian"})


def test_secure_boot_is_on_only_when_the_firmware_says_so() -> None:
    assert state(secure_boot="SecureBoot enabled").secure_boot
    assert not state(secure_boot="SecureBoot disabled").secure_boot
    assert not state(secure_boot="EFI variables are not supported on this system").secure_boot


def test_the_last_line_of_the_persistence_daemons_unit_counts() -> None:
    packaged = "ExecStart=/usr/bin/nvidia-persistenced --user x --no-persistence-mode"
    assert state(persistence=packaged).persistence_off
    ours = "ExecStart=/usr/bin/nvidia-persistenced --user x --persistence-mode"
    assert not state(persistence=f"{packaged}\nExecStart=\n{ours}").persistence_off


def test_a_pin_that_is_no_version_is_none() -> None:
    assert state(pinned="580.95.05").pinned == "580.95.05" and state(pinned="").pinned is None
