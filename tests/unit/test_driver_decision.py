"""What is done about a driver: left alone, installed, upgraded, repaired, reloaded or refused."""

from dataclasses import replace

import pytest

from ollama_fleet.driver import files
from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.state import KernelState, Package, State, Unit
from ollama_fleet.planner.provision import DriverRequest
from tests.unit.driver_hosts import KERNEL, bare, driven, managed

ANY = DriverRequest()
PASCAL, BLACKWELL = 0x1B80, 0x2BB5


@pytest.mark.parametrize(
    "state",
    [driven(), driven("595.58.03"), driven("550.163.01"), managed(), bare(gpu_ids=())],
    ids=["580", "595", "550", "ours", "no gpu"],
)
def test_a_driver_that_serves_is_left_alone(state: State) -> None:
    decision = decide(ANY, state)
    assert (decision.action, decision.problems, decision.changes) == ("leave", (), False)


def test_a_driver_of_a_dgx_is_left_alone() -> None:
    assert decide(DriverRequest(branch=595), bare(dgx=True)).action == "leave"


def test_a_driver_that_is_somebody_elses_matter_is_never_touched() -> None:
    assert decide(DriverRequest(manage=False), bare(os_id="gentoo")).action == "leave"


def test_a_bare_host_gets_580_with_open_modules() -> None:
    decision = decide(ANY, bare())
    assert decision.action == "install" and decision.packages
    assert str(decision.target) == "580 (open kernel modules)"


def test_an_old_gpu_gets_the_proprietary_modules() -> None:
    decision = decide(ANY, bare(gpu_ids=(PASCAL,)))
    assert str(decision.target) == "580 (proprietary kernel modules)"


REFUSED = [
    (ANY, bare(gpu_ids=(PASCAL, BLACKWELL)), "no driver has both"),
    (ANY, bare(os_id="fedora", os_version="42"), "fedora 42 is none"),
    (DriverRequest(branch=595), bare(gpu_ids=(PASCAL,)), "set `driver: {branch: 580}`"),
    (DriverRequest(version="570.86.15"), bare(gpu_ids=(BLACKWELL,)), "need 575.51.03 or newer"),
    (ANY, bare(os_id="rocky", os_version="10.0"), "key_fingerprint"),
    (ANY, bare(secure_boot=True), "Secure Boot is on"),
    (ANY, bare(free_mib={"/": 900}), "900 MiB are free on /"),
    (DriverRequest(branch=595), driven(runfile=True), "replace: true"),
    (
        DriverRequest(branch=595),
        driven(origins=frozenset({"http://deb.debian.org/debian"})),
        "http://deb.debian.org/debian",
    ),
]


@pytest.mark.parametrize(("request_", "state", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_cannot_be_is_refused_with_a_way_out(
    request_: DriverRequest, state: State, words: str
) -> None:
    decision = decide(request_, state)
    assert decision.action == "refuse" and not decision.changes
    assert any(words in problem for problem in decision.problems), decision.problems


def test_a_fingerprint_in_the_inventory_opens_a_repository_whose_key_is_unknown() -> None:
    asked = DriverRequest(key_fingerprint="A" * 40)
    assert decide(asked, bare(os_id="rocky", os_version="10.0")).action == "install"


@pytest.mark.parametrize(
    ("request_", "state"),
    [
        (DriverRequest(branch=595), driven("580.95.05")),
        (DriverRequest(version="580.105.08"), driven("580.95.05")),
        (DriverRequest(branch=580), driven("595.58.03")),
        (DriverRequest(flavour="proprietary"), driven()),
        (ANY, driven("535.261.03")),
    ],
    ids=["branch", "version", "back", "flavour", "too old for Ollama"],
)
def test_another_driver_than_asked_for_is_exchanged(request_: DriverRequest, state: State) -> None:
    decision = decide(request_, state)
    assert decision.action == "upgrade" and decision.packages and decision.why


def test_a_foreign_driver_is_purged_only_when_told() -> None:
    asked = DriverRequest(branch=595, replace=True)
    decision = decide(asked, driven(runfile=True))
    assert decision.action == "upgrade" and decision.replace


ROCKY = {"os_id": "rocky", "os_version": "9.4"}
FOREIGN = {
    "RPM Fusion": (
        driven(packages=(Package("akmod-nvidia", "3:580.95.05-1.el9"),), **ROCKY),
        "package akmod-nvidia 3:580.95.05-1.el9 of RPM Fusion",
    ),
    "RPM Fusion's user space": (
        driven(packages=(Package("xorg-x11-drv-nvidia-cuda", "3:580.95.05-1.el9"),), **ROCKY),
        "package xorg-x11-drv-nvidia-cuda 3:580.95.05-1.el9 of RPM Fusion",
    ),
    "ELRepo": (
        driven(packages=(Package("kmod-nvidia", "580.95.05-1.el9_6.elrepo"),), **ROCKY),
        "package kmod-nvidia 580.95.05-1.el9_6.elrepo of ELRepo",
    ),
    # Without an origin: the archives of both keep only their newest.
    "Ubuntu's archive": (
        driven(packages=(Package("nvidia-utils-580", "580.95.05-0ubuntu0.24.04.2"),)),
        "package nvidia-utils-580 580.95.05-0ubuntu0.24.04.2 of Ubuntu's archive",
    ),
    "Debian's archive": (
        driven(packages=(Package("libcuda1", "580.95.05-1~deb12u1"),)),
        "package libcuda1 580.95.05-1~deb12u1 of Debian's archive",
    ),
    "another apt archive": (
        driven(origins=frozenset({"http://ppa.example/graphics"})),
        "packages of http://ppa.example/graphics",
    ),
}


@pytest.mark.parametrize(("state", "words"), FOREIGN.values(), ids=FOREIGN)
def test_a_driver_of_another_source_is_named_and_exchanged_only_when_told(
    state: State, words: str
) -> None:
    assert decide(ANY, state).action == "leave"
    refused = decide(DriverRequest(branch=595), state)
    assert refused.action == "refuse" and not refused.changes
    (problem,) = refused.problems
    assert f"({words})" in problem and "set `driver: {replace: true}`" in problem
    told = decide(DriverRequest(branch=595, replace=True), state)
    assert (told.action, told.replace, told.packages) == ("upgrade", True, True)


def test_the_repository_that_we_install_from_is_no_other_source() -> None:
    """A mirror of the inventory's, or NVIDIA's own under any name."""
    mirror = DriverRequest(branch=595, repository="https://mirror.example/nvidia/")
    for url in ("https://mirror.example/nvidia/debian12/x86_64", "http://x/compute/cuda/repos/y"):
        decision = decide(mirror, driven(origins=frozenset({url})))
        assert (decision.action, decision.replace) == ("upgrade", False)


def test_a_package_that_dnf_could_exchange_is_locked_again() -> None:
    names = ("kmod-nvidia-open-dkms", "nvidia-fabricmanager")
    packages = tuple(Package(name, "580.95.05-1.el9") for name in names)
    locks = tuple(f"{name}-3:580.95.05-1.el9.*" for name in names)
    digests = {file.path: files.digest(file) for file in files.settings("dnf")}
    host = managed(packages=packages, files=digests, **ROCKY)
    assert decide(ANY, replace(host, locks=locks)).action == "leave"
    again = decide(ANY, replace(host, locks=locks[:1]))
    assert again.action == "finish" and again.packages
    assert again.why == ("nvidia-fabricmanager is not locked",)


def test_an_unattended_upgrade_under_a_loaded_module_is_reloaded() -> None:
    state = driven(
        library="580.105.08",
        kernels=(KernelState(KERNEL, True, "580.105.08", "open"),),
        hardware=replace(driven().hardware, gpus=(), smi_code=18),
    )
    decision = decide(ANY, state)
    assert decision.action == "reload" and not decision.packages
    assert "580.95.05 is loaded, but 580.105.08 is installed" in decision.why[0]


def test_a_kernel_without_a_module_is_repaired_before_it_boots() -> None:
    kernels = (
        KernelState(KERNEL, True, "580.95.05", "open"),
        KernelState("6.1.0-30", False, None, None),
    )
    decision = decide(ANY, managed(kernels=kernels))
    assert decision.action == "finish" and "6.1.0-30 has no driver module" in decision.why[0]
    other = decide(ANY, driven(kernels=kernels))
    assert other.action == "leave" and "after the next reboot" in other.notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"packages": (Package("nvidia-smi", "580.95.05-1", broken=True),)},
            "dpkg has not finished",
        ),
        ({"files": {files.BLACKLIST: "?" * 64}}, "is not as it should be"),
        ({"stale_initramfs": True}, "initramfs"),
        ({"pinned": None}, "not pinned"),
        ({"persistence_off": True}, "persistence daemon"),
    ],
)
def test_what_a_cut_off_run_left_is_finished(changes: dict[str, object], words: str) -> None:
    decision = decide(ANY, managed(**changes))
    assert decision.action == "finish" and any(words in why for why in decision.why)
    assert str(decision.target).startswith("580.95.05")


def manager(version: str, active: str = "active") -> dict[str, object]:
    package = Package("nvidia-fabricmanager", f"{version}-1")
    unit = Unit("loaded", active, "enabled")
    units = {**managed().units, "nvidia-fabricmanager.service": unit}
    return {"packages": (package,), "units": units, "switches": True}


def test_a_fabric_manager_of_the_drivers_version_is_left_alone() -> None:
    assert decide(ANY, managed(**manager("580.95.05"))).action == "leave"


def test_a_fabric_manager_of_no_package_that_runs_is_left_alone() -> None:
    units = manager("580.95.05")["units"]
    assert decide(ANY, driven(packages=(), units=units, switches=True)).action == "leave"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (manager("580.105.08"), "not of the driver's version"),
        (manager("580.95.05", "failed"), "does not run"),
        ({"switches": True}, "no fabric manager"),
    ],
)
def test_a_wrong_fabric_manager_is_repaired(changes: dict[str, object], words: str) -> None:
    for state in (managed(**changes), driven(**changes)):
        decision = decide(ANY, state)
        assert decision.fabric and words in decision.why[0]
        # Somebody else's driver gets its fabric manager, and stays otherwise as it is.
        assert decision.packages is (files.BLACKLIST in state.files)


@pytest.mark.parametrize(
    ("asked", "enroll", "problems"), [("fail", False, 1), ("enroll", True, 0), ("ignore", False, 0)]
)
def test_secure_boot_has_three_outcomes(asked: str, enroll: bool, problems: int) -> None:
    decision = decide(DriverRequest(secure_boot=asked), bare(secure_boot=True))
    assert (decision.enroll, len(decision.problems)) == (enroll, problems)
    assert bool(decision.notes) is (asked == "ignore")


def test_ubuntu_with_secure_boot_gets_modules_that_canonical_signed() -> None:
    decision = decide(ANY, bare(os_id="ubuntu", os_version="24.04", secure_boot=True))
    assert decision.action == "install" and decision.target and decision.target.signed


def test_canonicals_own_driver_is_no_foreign_one_where_secure_boot_wants_it() -> None:
    canonical = driven(os_id="ubuntu", os_version="24.04", origins=frozenset({"http://ubuntu/"}))
    asked = DriverRequest(branch=595)
    assert decide(asked, canonical).action == "refuse"
    signed = decide(asked, replace(canonical, secure_boot=True))
    assert signed.action == "upgrade" and signed.target and signed.target.signed


def test_a_lost_gpu_is_no_matter_of_packages() -> None:
    state = driven()
    seen = replace(state.hardware, gpus=state.hardware.gpus[:1])
    decision = decide(ANY, replace(state, hardware=seen))
    assert decision.action == "leave" and "1 of 2 GPUs" in decision.notes[0]


def test_a_driver_that_no_package_and_no_uninstaller_knows_is_not_built_upon() -> None:
    copied = driven(packages=())
    assert decide(DriverRequest(), copied).action == "leave"
    for request in (DriverRequest(branch=595), DriverRequest(branch=595, replace=True)):
        refused = decide(request, copied)
        assert refused.action == "refuse" and not refused.changes
        assert "whose files belong to no package" in refused.problems[0]
    assert decide(DriverRequest(branch=595), driven()).action == "upgrade"


@pytest.mark.parametrize(
    "name", ["nvidia-driver-cuda", "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"]
)
def test_nvidias_own_packages_are_no_other_source(name: str) -> None:
    own = driven(packages=(Package(name, "580.95.05-1"), Package("libcuda1", "580.95.05-0ubuntu1")))
    assert decide(DriverRequest(branch=595), own).action == "upgrade"


def test_a_driver_of_the_archive_that_is_too_old_is_not_upgraded_unasked() -> None:
    """Nobody asked for another; but Ollama needs one, and it would come from another source."""
    old = driven("535.261.03", packages=(Package("libcuda1", "535.261.03-1~deb12u1"),))
    refused = decide(ANY, old)
    assert refused.action == "refuse" and "Debian's archive" in refused.problems[0]


def test_a_list_with_other_repositories_beside_nvidias_is_named() -> None:
    state = bare(mixed_lists=("/etc/apt/sources.list.d/corp.list",))
    (problem,) = decide(ANY, state).problems
    assert problem.startswith("/etc/apt/sources.list.d/corp.list has NVIDIA's driver repository")
    assert decide(ANY, driven(mixed_lists=state.mixed_lists)).action == "leave"


def test_a_new_kernel_on_a_host_with_signed_modules_brings_the_branchs_newest_driver() -> None:
    """The archive has no module of the old version for it; the slices are drained for the new one."""
    kernels = (
        KernelState(KERNEL, True, "580.95.05", "open"),
        KernelState("6.99.0-1-generic", False, None, None),
    )
    state = managed(
        kernels=kernels, os_id="ubuntu", os_version="24.04", secure_boot=True, pinned="580.95.05"
    )
    decision = decide(ANY, state)
    assert decision.action == "upgrade" and decision.target
    assert (decision.target.signed, decision.target.version) == (True, None)
    file_gone = replace(state, kernels=kernels[:1], files={**state.files, files.MODULES: "0"})
    assert decide(ANY, file_gone).action == "finish"
