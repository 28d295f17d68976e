"""The driver after a deploy: one version, as asked, right modules, still there after the next boot."""

from dataclasses import replace

import pytest

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge
from ollama_fleet.driver.files import BLACKLIST, DNF_SOURCE, PREFERENCES, UNATTENDED
from ollama_fleet.planner.provision import DriverRequest, Provision
from ollama_fleet.questions import Answer
from tests.unit.test_checks import PLAN, healthy, row

DIGEST = "ab" * 32


def files(*paths: str) -> str:
    return "\n".join(f"{DIGEST}  {path}" for path in paths)


OURS = {"driver.files": files(BLACKLIST, PREFERENCES, UNATTENDED)}


def result(check: str, driver: DriverRequest | None = None, **changes: str) -> CheckResult | None:
    """What `check` says of a host that is well but for `changes` (names with _ for .)."""
    texts = healthy() | {name.replace("__", "."): text for name, text in changes.items()}
    answers = {name: Answer(text) for name, text in texts.items()}
    plan = replace(PLAN, provision=Provision(driver=driver or DriverRequest()))
    found = [one for one in judge(plan, answers) if one.check == check]
    return found[0] if found else None


def status(check: str, driver: DriverRequest | None = None, **changes: str) -> str | None:
    found = result(check, driver, **changes)
    return found.status if found else None


def ours(**changes: str) -> dict[str, str]:
    return {name.replace(".", "__"): text for name, text in OURS.items()} | changes


def test_a_healthy_driver_passes_every_check() -> None:
    checks = ("driver", "driver flavour", "persistence", "next boot")
    assert [status(check) for check in checks] == ["ok"] * 4
    assert status("driver pin") is None, "nobody asked for a version, and it is not ours"
    assert status("fabric") is None, "the host has no NVSwitches"


def test_pain_1_user_space_that_was_upgraded_under_a_loaded_module_is_found() -> None:
    """The libraries alone give it away: nvidia-smi may run from an older copy still."""
    found = result("driver", driver__library="/usr/lib64/libnvidia-ml.so.580.105.08")
    assert found and found.failed
    assert found.found == "580.95.05 loaded, 580.105.08, 580.95.05 in user space"
    assert found.remedy.startswith("deploy again: slices are drained")
    mismatch = result("driver", smi="Failed to initialize NVML: Driver/library version mismatch")
    assert mismatch and mismatch.failed
    hands_off = result(
        "driver", DriverRequest(manage=False), driver__library="/x/libnvidia-ml.so.580.105.08"
    )
    assert hands_off and "reboot" in hands_off.remedy


@pytest.mark.parametrize(
    ("request_", "good"),
    [
        (DriverRequest(version="580.95.05"), True),
        (DriverRequest(version="580.105.08"), False),
        (DriverRequest(branch=580), True),
        (DriverRequest(branch=595), False),
    ],
)
def test_the_driver_is_the_one_asked_for(request_: DriverRequest, good: bool) -> None:
    found = result("driver pin", request_)
    assert found and found.failed != good and found.found == "580.95.05"


def test_a_driver_that_is_not_ours_to_manage_is_not_compared() -> None:
    assert status("driver pin", DriverRequest(manage=False, branch=595)) is None


@pytest.mark.parametrize("gone", [PREFERENCES, UNATTENDED])
def test_pain_4_a_driver_of_ours_that_an_upgrade_may_change_is_found(gone: str) -> None:
    assert status("driver pin", **ours()) == "ok"
    left = [path for path in (BLACKLIST, PREFERENCES, UNATTENDED) if path != gone]
    found = result("driver pin", driver__files=files(*left))
    assert found and found.failed and gone in found.found


ON_DNF = {
    "driver__files": files(BLACKLIST, DNF_SOURCE),
    "driver__packages": "ii |kmod-nvidia-open-dkms|580.95.05-1.el9\n"
    "ii |nvidia-driver-cuda|580.95.05-1.el9\nii |nvidia-container-toolkit|1.20.0-1",
}
# As the question prints them: the locks, and the version in the one of the kernel modules.
MODULES = "kmod-nvidia-open-dkms-3:580.95.05-1.el9.*\n580.95.05"
USER_SPACE = "nvidia-driver-cuda-3:580.95.05-1.el9.*"


def test_on_a_dnf_host_the_pin_is_a_lock_of_every_package_of_the_driver() -> None:
    assert status("driver pin", **ON_DNF, driver__pinned=f"{USER_SPACE}\n{MODULES}") == "ok"


@pytest.mark.parametrize(
    ("locks", "without"),
    [
        ("", "a lock of the kernel modules"),  # a module stream alone is no line here
        ("nvidia-container-toolkit-0:1.20.0-1.*", "a lock of the kernel modules"),
        (USER_SPACE, "a lock of the kernel modules"),
        (MODULES, "a lock of nvidia-driver-cuda"),
        (f"{USER_SPACE}\n{MODULES}".replace("95.05", "82.07"), "a lock of the kernel modules"),
        (f"{USER_SPACE.replace('95.05', '82.07')}\n{MODULES}", "a lock of nvidia-driver-cuda"),
    ],
)
def test_pain_4_a_lock_of_anything_else_does_not_hold_the_driver(locks: str, without: str) -> None:
    found = result("driver pin", **ON_DNF, driver__pinned=locks)
    assert found and found.failed and found.found == f"580.95.05, without {without}"


@pytest.mark.parametrize(
    ("pci", "loaded", "expected"),
    [
        ("0x2204", "Open Kernel Module for x86_64", "ok"),
        ("0x2204", "x86_64 Kernel Module", "ok"),
        ("0x2901", "Open Kernel Module for x86_64", "ok"),
        ("0x2901", "x86_64 Kernel Module", "failed"),
        ("0x1b06", "x86_64 Kernel Module", "ok"),
        ("0x1b06", "Open Kernel Module for x86_64", "failed"),
    ],
    ids=[
        "ampere-open",
        "ampere-closed",
        "b200-open",
        "b200-closed",
        "pascal-closed",
        "pascal-open",
    ],
)
def test_pain_3_kernel_modules_that_cannot_drive_the_cards_are_found(
    pci: str, loaded: str, expected: str
) -> None:
    text = f"NVRM version: NVIDIA UNIX {loaded}  580.95.05  Release"
    card = f"0000:10:00.0 {pci} 0x030000"
    assert status("driver flavour", driver__pci=card, driver__loaded=text) == expected


def test_persistence_that_is_off_is_a_failure_of_ours_and_else_a_hint() -> None:
    off = f"{row(0)}\n{row(1).replace('Enabled', 'Disabled')}"
    assert status("persistence", smi=off) == "warning"
    assert status("persistence", smi=off, **ours()) == "failed"
    unknown = f"{row(0)}\n{row(1).replace('Enabled', '[N/A]')}"
    assert status("persistence", smi=unknown) == "ok"


RUNNING = "6.1.0-42-amd64 yes 580.95.05 Dual MIT/GPL"


def test_pain_2_a_newer_kernel_without_the_module_is_found_before_it_boots() -> None:
    kernels = f"{RUNNING}\n6.1.0-43-amd64 no - -"
    found = result("next boot", driver__kernels=kernels, **ours())
    assert found and found.failed
    assert found.found == "6.1.0-43-amd64: no module, no headers to build one"
    assert "a reboot may lose the GPUs" in found.remedy
    assert status("next boot", driver__kernels=kernels) == "warning", "another's driver"


def test_an_old_kernel_without_the_module_is_only_worth_a_look() -> None:
    kernels = f"6.1.0-9-amd64 yes - -\n{RUNNING}"
    assert status("next boot", driver__kernels=kernels, **ours()) == "warning"


def test_a_module_of_another_version_waits_for_the_next_boot() -> None:
    kernels = f"{RUNNING}\n6.1.0-43-amd64 yes 570.86.15 NVIDIA"
    found = result("next boot", driver__kernels=kernels, **ours())
    assert found and found.failed and "6.1.0-43-amd64: module 570.86.15" in found.found


def test_a_driver_whose_module_nobody_can_find_is_not_judged() -> None:
    assert status("next boot", driver__kernels="") is None


SWITCHED = {
    "driver__switches": "0000:b4:00.0",
    "driver__packages": "ii |nvidia-fabricmanager|580.95.05-1",
    "driver__units": "Id=nvidia-fabricmanager.service\nLoadState=loaded\nActiveState=active",
}


def test_pain_9_a_fabric_that_is_not_complete_is_found_though_nvidia_smi_looks_well() -> None:
    """fabric.state has an odd prefix in nvidia-smi's own output."""
    done = "state  Completed, Success\nstate  Completed, Success"
    assert status("fabric", **SWITCHED, health__fabric=done) == "ok"
    assert status("fabric", **SWITCHED, health__fabric="[N/A]") == "ok"
    text = "state  Completed, Success\nstate  In Progress, N/A"
    waiting = result("fabric", **SWITCHED, health__fabric=text)
    assert waiting and waiting.failed and waiting.found == "fabric.state In Progress"
    other = SWITCHED | {"driver__packages": "ii |nvidia-fabricmanager|580.82.07-1"}
    mismatched = result("fabric", **other, health__fabric=done)
    assert mismatched and mismatched.failed and "580.82.07" in mismatched.found
    dead = SWITCHED | {"driver__units": SWITCHED["driver__units"].replace("active", "failed")}
    assert status("fabric", **dead, health__fabric=done) == "failed"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("state  Completed, Success", "registered"),
        ("state  Completed, status  Success", "registered"),
        ("state  Completed", "registered"),
        ("state  Completed, N/A", "registered"),
        ("[N/A], [N/A]", "registered"),  # Ampere's fabric is told of nowhere
        ("Not Supported, Success", "registered"),
        ("state  Completed, Unknown Error", "fabric.status Unknown Error"),
        ("state  Completed, [Unknown Error]", "fabric.status [Unknown Error]"),
        (
            "state  Completed, status  Insufficient Resources",
            "fabric.status Insufficient Resources",
        ),
        ("state  Not Started, Unknown Error", "fabric.state Not Started"),
    ],
)
def test_a_registration_that_ended_in_an_error_is_none(said: str, found: str) -> None:
    """NVML: of the status it is to be asked when the state is complete, and then only."""
    text = f"state  Completed, Success\n{said}"
    judged = result("fabric", **SWITCHED, health__fabric=text)
    assert judged and (judged.found, judged.failed) == (found, found != "registered")


def test_pain_7_nouveau_beside_a_driver_is_told() -> None:
    found = result("driver", smi="", driver="", driver__loaded="", driver__modules="nouveau")
    assert found and found.failed and "nouveau holds GPUs" in found.found
