"""What a host answers about its driver, read from text; what is no number is None."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.driver.files import BLACKLIST
from ollama_fleet.driver.packages import LOCKED
from ollama_fleet.driver.questions import QUESTIONS, questions
from ollama_fleet.driver.state import Package, State, read_state
from ollama_fleet.planner.provision import DriverRequest
from ollama_fleet.questions import Answer
from ollama_fleet.templating import TEMPLATES

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


def test_kernels_of_packages_are_no_driver() -> None:
    found = state(
        packages="ii |linux-image-generic|6.8.0\nrc |linux-image-6.1|6.1\nii |nvidia-smi|580.95.05-1"
    )
    assert found.images == ("linux-image-generic",)
    assert [package.name for package in found.packages] == ["nvidia-smi"]


def test_modinfo_is_called_once_for_each_kernel(tmp_path: Path) -> None:
    """Against a stand-in that knows the module of one kernel, and Debian's name for it on another."""
    for kernel in ("6.1.0-28", "6.1.0-30", "6.1.0-31"):
        (tmp_path / kernel / "kernel").mkdir(parents=True)
    program = tmp_path / "modinfo"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >>{tmp_path}/calls
case "$*" in
"-k 6.1.0-28 nvidia" | "-k 6.1.0-30 nvidia-current") ;;
*) exit 1 ;;
esac
printf '%s\\n' 'filename:       /x' 'srcversion:     1' 'alias:          pci:v*d*' \\
    'version:        580.95.05' 'license:        Dual MIT/GPL' 'parm:           version:x'
"""
    )
    program.chmod(0o755)
    asked = questions(DriverRequest())["driver.kernels"].replace("/lib/modules", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", asked],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "6.1.0-28 no 580.95.05 Dual MIT/GPL",
        "6.1.0-30 no 580.95.05 -",
        "6.1.0-31 no - -",
    ]
    assert len((tmp_path / "calls").read_text().splitlines()) == 5


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


FIRMWARE = "sys/firmware/efi/efivars"
VARIABLE = f"{FIRMWARE}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def secure_boot(folder: Path, mokutil: str | None = None) -> str:
    """What a host says of Secure Boot whose /sys is in `folder`; `mokutil`: what that prints there."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("od", "tail"):
        (programs / name).symlink_to(str(shutil.which(name)))
    if mokutil:
        (programs / "mokutil").write_text(f"#!/bin/sh\necho '{mokutil}'\n")
        (programs / "mokutil").chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("sh")), "-c", QUESTIONS["driver.secure_boot"].replace("/sys/", "sys/")],
        env={"PATH": str(programs)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("value", "said", "on"),
    [(1, "SecureBoot enabled\n", True), (0, "SecureBoot disabled\n", False)],
)
def test_without_mokutil_the_firmwares_own_variable_says_whether_secure_boot_is_on(
    tmp_path: Path, value: int, said: str, on: bool
) -> None:
    """Four bytes of attributes stand before the value; some have a 1 among them."""
    (tmp_path / FIRMWARE).mkdir(parents=True)
    (tmp_path / VARIABLE).write_bytes(bytes([6, 0, 0, 1, value]))
    text = secure_boot(tmp_path)
    assert text == said and state(secure_boot=text).secure_boot is on


@pytest.mark.parametrize("folder", ["sys", FIRMWARE], ids=["no UEFI", "no variable"])
def test_firmware_that_knows_no_secure_boot_has_none(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    text = secure_boot(tmp_path)
    assert text == "" and not state(secure_boot=text).secure_boot


def test_what_mokutil_says_is_said_once(tmp_path: Path) -> None:
    (tmp_path / FIRMWARE).mkdir(parents=True)
    (tmp_path / VARIABLE).write_bytes(bytes([6, 0, 0, 0, 1]))
    assert secure_boot(tmp_path, "SecureBoot disabled") == "SecureBoot disabled\n"


def test_the_last_line_of_the_persistence_daemons_unit_counts() -> None:
    packaged = "ExecStart=/usr/bin/nvidia-persistenced --user x --no-persistence-mode"
    assert state(persistence=packaged).persistence_off
    ours = "ExecStart=/usr/bin/nvidia-persistenced --user x --persistence-mode"
    assert not state(persistence=f"{packaged}\nExecStart=\n{ours}").persistence_off


def test_a_pin_that_is_no_version_is_none() -> None:
    assert state(pinned="580.95.05").pinned == "580.95.05" and state(pinned="").pinned is None


RPMS = """\
kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch
libnvidia-ml-3:580.95.05-1.el9.x86_64
nvidia-driver-cuda-3:580.95.05-1.el9.x86_64
nvidia-container-toolkit-0:1.20.0-1.x86_64
nvidia-driver-assistant-0:0.22.82.02-1.noarch
"""
# What stood there before: somebody's lock, and those of the driver that was there.
LOCKS = """\
nvidia-driver-cuda-3:580.82.07-1.el9.*
kernel-0:5.14.0-570.el9.*
kmod-nvidia-open-dkms-3:580.82.07-1.el9.*
"""


def test_the_locks_that_the_driver_step_writes_are_those_that_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "rpm").write_text(f"#!/bin/sh\nprintf '%s' '{RPMS}'\n")
    (tmp_path / "rpm").chmod(0o755)
    locks = tmp_path / "versionlock.list"
    locks.write_text(LOCKS)
    library = (TEMPLATES / "driver" / "dnf.sh").read_text(encoding="utf-8")
    asked = QUESTIONS["driver.pinned"].replace("/etc/dnf/plugins/versionlock.list", str(locks))
    done = subprocess.run(
        ["sh", "-s"],
        input=f"{library}\nversion=580.95.05 LOCKS={locks}\npm_lock\n{asked}\n",
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = state(pinned=done.stdout, packages=INSTALLED)
    assert found.pinned == "580.95.05" and found.unlocked("580.95.05") == []
    assert "kernel-0:5.14.0-570.el9.*" in found.locks and len(found.locks) == 4


INSTALLED = """\
ii |kmod-nvidia-open-dkms|580.95.05-1.el9
ii |libnvidia-ml|580.95.05-1.el9
ii |nvidia-driver-cuda|580.95.05-1.el9
ii |nvidia-container-toolkit|1.20.0-1
ii |nvidia-driver-assistant|0.22.82.02-1
ii |dnf-plugin-nvidia|2.2-1.el9
ii |nvlink5-580|580.95.05-1.el9"""


@pytest.mark.parametrize(
    "lock",
    [
        "libnvidia-ml-3:580.105.08-1.el9.*",
        "libnvidia-ml-3:580.95.05-2.el9.*",
        "nvidia-libnvidia-ml-3:580.95.05-1.el9.*",
        "libnvidia-ml-devel-3:580.95.05-1.el9.*",
        "libnvidia-ml-3:580.*",
        "!libnvidia-ml-3:580.95.05-1.el9.*",
    ],
)
def test_only_a_lock_of_the_very_package_keeps_it(lock: str) -> None:
    installed = "ii |libnvidia-ml|580.95.05-1.el9"
    assert state(packages=installed, pinned=lock).unlocked("580.95.05") == ["libnvidia-ml"]
    exact = "libnvidia-ml-3:580.95.05-1.el9."
    for architecture in ("*", "x86_64"):
        held = state(packages=installed, pinned=f"{exact}{architecture}")
        assert held.unlocked("580.95.05") == []


def test_what_is_looked_for_is_what_gets_a_lock() -> None:
    """A name that is looked for and never written would have every deploy repair it again."""
    library = (TEMPLATES / "driver" / "dnf.sh").read_text(encoding="utf-8")
    family = library[library.index("pm_family()") :]
    patterns = re.findall(r"'([a-z-]+)\*'", family[: family.index("}\n")])
    assert sorted(LOCKED) == sorted(patterns)


def test_a_package_that_somebody_holds_is_not_half_installed() -> None:
    held = state(packages="hi |nvidia-driver-cuda|580.95.05-1\nhi |linux-image-6.1.0-28-amd64|6.1")
    assert [item.broken for item in held.packages] == [False]
    assert held.images == ("linux-image-6.1.0-28-amd64",)
    half = state(
        packages="iF |nvidia-driver-cuda|580.95.05-1\nhU |libnvidia-ml1|1\niiR|nvidia-smi|1"
    )
    assert [item.broken for item in half.packages] == [True, True, True]


IMAGES = ("initrd.img-6.1.0-9", "initramfs-6.1.0-9.img")
NOBODYS = (
    "initramfs-0-rescue-4711.img",
    "initramfs-6.1.0-9kdump.img",
    "initrd.img-6.1.0-9.old-dkms",
)


def test_only_a_kernels_own_image_has_to_be_newer_than_our_settings(tmp_path: Path) -> None:
    """Nothing ever makes the others anew: a host that waited for it would never be finished."""
    (tmp_path / "lib/modules/6.1.0-9").mkdir(parents=True)
    (tmp_path / "boot").mkdir()
    for age, name in enumerate((*NOBODYS, BLACKLIST.rpartition("/")[2], *IMAGES)):
        path = tmp_path / "boot" / name
        path.write_text("")
        os.utime(path, (age, age))
    question = QUESTIONS["driver.initramfs"].replace(
        BLACKLIST, f"{tmp_path}/boot/{BLACKLIST.rpartition('/')[2]}"
    )
    asked = question.replace("/lib/modules", f"{tmp_path}/lib/modules").replace(
        '"/boot', f'"{tmp_path}/boot'
    )
    assert sh(asked) == ""
    for name in IMAGES:
        os.utime(tmp_path / "boot" / name, (1, 1))
    assert sorted(sh(asked).split()) == sorted(f"{tmp_path}/boot/{name}" for name in IMAGES)


def sh(text: str) -> str:
    """What a host's shell prints."""
    done = subprocess.run(
        [shutil.which("dash") or "sh", "-c", text], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout


CUDA = "http://m/compute/cuda/repos"
LISTS = {
    "sources.list.d/cuda-debian12-x86_64.list": f"deb [signed-by=/x] {CUDA}/debian12/x86_64/ /\n",
    "sources.list.d/made_by_a_role.list": f"# by a role\ndeb {CUDA}/debian12/x86_64/ /\n",
    "sources.list.d/x.sources": f"Types: deb\nURIs: {CUDA}/debian12/x86_64/\nSuites: /\n",
    "sources.list.d/corp.list": f"deb http://m/debian bookworm main\ndeb {CUDA}/debian12/ /\n",
    "sources.list.d/other.list": f"deb http://m/debian bookworm main\n# deb {CUDA}/x/ /\n",
    "sources.list": f"deb {CUDA}/debian12/x86_64/ /\n",
    "yum.repos.d/cuda-rhel9.repo": f"[cuda]\nbaseurl={CUDA}/rhel9/x86_64\n",
    "yum.repos.d/lab.repo": f"[a]\nbaseurl=http://m/a\n[c]\nbaseurl = {CUDA}/rhel9/x86_64\n",
    "yum.repos.d/excluded.repo": "[a]\nbaseurl=http://m/a\nexcludepkgs=/compute/cuda/repos/\n",
}


def test_lists_of_nvidias_repository_are_known_by_what_stands_in_them(tmp_path: Path) -> None:
    for name, text in LISTS.items():
        path = tmp_path / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    asked = (
        QUESTIONS["driver.stale"]
        .replace("/etc/apt/", f"{tmp_path}/etc/")
        .replace("/etc/yum", f"{tmp_path}/etc/yum")
    )
    found = state(stale=sh(asked))
    names = [
        [path.rpartition("etc/")[2] for path in paths]
        for paths in (found.stale_lists, found.mixed_lists)
    ]
    assert names == [
        [
            "sources.list.d/cuda-debian12-x86_64.list",
            "sources.list.d/made_by_a_role.list",
            "sources.list.d/x.sources",
            "yum.repos.d/cuda-rhel9.repo",
        ],
        ["sources.list", "sources.list.d/corp.list", "yum.repos.d/lab.repo"],
    ]


def test_a_host_without_a_file_of_lists_is_asked_all_the_same(tmp_path: Path) -> None:
    """Some awks end at the first file that is not there."""
    (tmp_path / "yum.repos.d").mkdir()
    (tmp_path / "yum.repos.d/cuda.repo").write_text(LISTS["yum.repos.d/cuda-rhel9.repo"])
    asked = QUESTIONS["driver.stale"].replace("/etc/", f"{tmp_path}/")
    assert sh(asked).split() == ["whole", f"{tmp_path}/yum.repos.d/cuda.repo"]
    assert sh(asked.replace(f"{tmp_path}", "/nowhere")) == ""


@pytest.mark.parametrize(
    ("loaded", "asks"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Tue Sep 23", True),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build",
            False,
        ),
        (None, True),
    ],
)
def test_where_packages_come_from_is_asked_where_the_driver_may_have_to_go(
    tmp_path: Path, loaded: str | None, asks: bool
) -> None:
    if loaded:
        (tmp_path / "version").write_text(f"{loaded}\n")
    head = questions(DriverRequest())["driver.sources"].partition("[ ! -e /etc/modprobe.d")[0]
    text = head.replace("/proc/driver/nvidia/version", f"{tmp_path}/version")
    assert sh(f"{text}\necho asked").strip() == ("asked" if asks else "")
