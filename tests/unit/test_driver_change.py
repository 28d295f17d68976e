"""The script that exchanges a driver, as text and as shell."""

import base64
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.driver import files
from ollama_fleet.driver.change import steps_of
from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.state import State
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import DriverRequest, Provision
from ollama_fleet.templating import TEMPLATES
from tests.unit.driver_hosts import bare, driven, managed
from tests.unit.examples import host_plan

SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}


def script(state: State, request: DriverRequest | None = None, **provision: object) -> str:
    asked = request or DriverRequest()
    plan: HostPlan = replace(
        host_plan(CHAT), provision=replace(Provision(), driver=asked, **provision)
    )
    return "\n".join(steps_of(decide(asked, state), plan, state))


CASES = {
    "bare": (bare(), None),
    "upgrade": (driven(slices=("ollama-chat.service",)), DriverRequest(branch=595)),
    "reload": (driven(loaded="580.1.1"), None),
    "fabric": (driven(switches=True), None),
    "rocky": (bare(os_id="rocky", os_version="9.4"), None),
    "enroll": (bare(secure_boot=True), DriverRequest(secure_boot="enroll")),
    "signed": (bare(os_id="ubuntu", os_version="24.04", secure_boot=True), None),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", CASES)
def test_every_script_is_shell(case: str, shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=script(*CASES[case]), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_what_needs_no_package_needs_no_distribution() -> None:
    """What is installed is right, and only reloaded: the functions for that know all that they use."""
    text = script(*CASES["reload"])
    assert "\nreload" in text
    running = (TEMPLATES / "driver" / "running.sh").read_text(encoding="utf-8")
    assigned = set(re.findall(r"(?m)^([A-Z_]+)=", text))
    assert set(re.findall(r"\$\{?([A-Z_]+)\b", running)) - assigned == set()


def test_the_repository_and_its_key_are_settings() -> None:
    asked = DriverRequest(repository="https://mirror.example/cuda", key_fingerprint="ab" * 20)
    text = script(bare(), asked)
    assert "REPOSITORY=https://mirror.example/cuda/debian12/x86_64\n" in text
    assert f"FINGERPRINT={'AB' * 20}\n" in text
    assert "nvidia.com" not in text


def test_a_proxy_is_for_everything_but_the_host_itself() -> None:
    found = Provision(proxy="http://proxy:3128").environment
    assert (
        found["http_proxy"] == found["https_proxy"] == found["HTTPS_PROXY"] == "http://proxy:3128"
    )
    assert "127.0.0.1" in found["no_proxy"]
    assert Provision().environment == {}


def test_nothing_is_unloaded_on_a_fresh_host() -> None:
    text = script(bare())
    assert "UNLOAD=no\n" in text and "UPGRADE=no\n" in text


def test_an_upgrade_of_a_serving_host_drains_and_proves_its_slices() -> None:
    text = script(*CASES["upgrade"])
    assert "UPGRADE=yes\n" in text and "systemctl stop $draining" in text
    assert "ollama-chat.service 11434 qwen3:0.6b" in text
    assert "MAY_REBOOT=no\n" in text


def test_a_reboot_in_place_of_an_unload_is_only_for_hosts_that_allow_it() -> None:
    state, request = CASES["upgrade"]
    assert "MAY_REBOOT=yes\n" in script(state, request, reboot="auto")
    assert "MAY_REBOOT=no\n" in script(state, request, reboot="ask")
    assert "MAY_REBOOT=yes\n" in script(driven(), request)


def test_both_kinds_of_names_are_tried_on_ubuntu() -> None:
    text = script(bare(os_id="ubuntu", os_version="22.04"))
    assert "\nnvidia-dkms-open libnvidia-compute nvidia-utils\n" in text
    assert "\nnvidia-dkms-580-open libnvidia-compute-580 nvidia-utils-580\n" in text


def test_headers_follow_the_kernels_that_the_host_follows() -> None:
    images = ("linux-image-6.8.0-45-generic", "linux-image-generic-hwe-24.04")
    text = script(bare(os_id="ubuntu", os_version="24.04", images=images))
    assert "HEADERS_NEXT=linux-headers-generic-hwe-24.04\n" in text
    assert "HEADERS_NEXT=linux-headers-amd64\n" in script(bare())
    signed = script(bare(os_id="ubuntu", os_version="24.04", images=images, secure_boot=True))
    assert "linux-modules-nvidia-580-server-open-generic-hwe-24.04" in signed


def test_an_enterprise_linux_gets_its_stream_and_extra_repositories() -> None:
    text = script(*CASES["rocky"])
    assert "STREAM=580-open\n" in text and "BUILDER=crb\n" in text
    ten = DriverRequest(key_fingerprint="A" * 40)
    assert "STREAM=''\n" in script(bare(os_id="rocky", os_version="10.0"), ten)


def test_the_fabric_manager_of_somebody_elses_driver_pins_nothing() -> None:
    text = script(*CASES["fabric"])
    assert text.endswith("only_fabric") and "VERSION=580.95.05\n" in text


def test_what_a_cut_off_run_left_is_finished_in_the_same_version() -> None:
    text = script(managed(pinned=None))
    assert text.endswith("whole") and "VERSION=580.95.05\n" in text and "UNLOAD=no\n" in text


def test_a_key_of_the_inventory_is_sent_and_needs_no_fingerprint() -> None:
    ten = bare(os_id="rocky", os_version="10.0")
    text = script(ten, DriverRequest(key="bWluZQ=="))
    assert "KEY=bWluZQ==\n" in text and "FINGERPRINT=''\n" in text
    both = DriverRequest(key="bWluZQ==", key_fingerprint="ab" * 20)
    assert f"FINGERPRINT={'AB' * 20}\n" in script(bare(), both)
    assert "KEY=''\n" in script(bare())


def test_another_branch_is_only_taken_for_who_asked_for_none() -> None:
    assert "BRANCH=580\n" in script(bare()) and "BRANCH_ELSE=595\n" in script(bare())
    assert "BRANCH_ELSE=''\n" in script(bare(), DriverRequest(branch=580))
    pascal = bare(os_version="13", gpu_ids=(0x1B80,))
    assert "BRANCH=580\n" in script(pascal) and "BRANCH_ELSE=''\n" in script(pascal)
    assert "BRANCH_ELSE=''\n" in script(*CASES["rocky"])  # its stream says the branch


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_fetched_from_a_place_that_the_inventory_does_not_know(case: str) -> None:
    state, request = CASES[case]
    mirror = "https://mirror.example/cuda"
    asked = replace(request or DriverRequest(), repository=mirror, key="bWluZQ==")
    text = script(state, asked)
    places = set(re.findall(r"\b(?:https?|ftp)://[^\s'\"$]+", text + _decoded(text)))
    assert not [url for url in places if not url.startswith((mirror, "http://127.0.0.1"))]


def _decoded(text: str) -> str:
    """The files inside a script, which are base64-coded or quoted."""
    coded = re.findall(r"echo ([A-Za-z0-9+/=]{40,}) \|", text)
    return "\n".join(base64.b64decode(item).decode() for item in coded)


def test_arm_servers_build_with_what_their_kernels_need() -> None:
    key = DriverRequest(key="bWluZQ==")
    ten = bare(os_id="rocky", os_version="10.0", machine="aarch64")
    text = script(ten, key)
    assert "TOOLS=unzboot\n" in text and "/rhel10/sbsa\n" in text
    assert "TOOLS=''\n" in script(bare(os_id="rocky", os_version="10.0"), key)
    debian = script(bare(machine="aarch64"))
    assert "HEADERS_NEXT=linux-headers-arm64\n" in debian and "/debian12/sbsa\n" in debian


def test_cards_and_switches_that_need_a_module_or_an_option_of_their_own_get_it() -> None:
    texts = {
        ids: {file.path: file.text for file in files.settings("apt", ids)}
        for ids in ((0x2204,), (0x2BB5,), (0x2901, 0x2901))
    }
    plain, pro, hgx = texts.values()
    assert (
        "uvm_disable_hmm" in pro[files.BLACKLIST]
        and "uvm_disable_hmm" not in plain[files.BLACKLIST]
    )
    assert hgx[files.MODULES].split()[-2:] == ["mlx5_ib", "ib_umad"]
    assert plain[files.MODULES] == pro[files.MODULES] and "mlx5_ib" not in plain[files.MODULES]
    assert "BRIDGES='mlx5_ib ib_umad'\n" in script(bare(gpu_ids=(0x2901,)))


def test_the_headers_of_a_kernel_of_another_kind_have_their_own_name() -> None:
    grace = bare(
        os_id="rocky",
        os_version="9.4",
        machine="aarch64",
        kernel="5.14.0-570.el9.aarch64+64k",
    )
    text = script(grace)
    assert "HEADERS='kernel-devel-uname-r = %s\nkernel-devel-%s'\n" in text
    assert "HEADERS_NEXT=kernel-64k-devel\n" in text and "KERNEL=kernel-64k\n" in text
    assert "HEADERS_NEXT=kernel-devel\nKERNEL=kernel\n" in script(*CASES["rocky"])


def test_signed_modules_come_for_every_kind_of_kernel_that_the_host_follows() -> None:
    images = ("linux-image-generic", "linux-image-generic-hwe-24.04")
    text = script(bare(os_id="ubuntu", os_version="24.04", images=images, secure_boot=True))
    first = text.partition("cat >\"$work/sets\" <<'END'\n")[2].splitlines()[0].split()
    assert {name for name in first if "modules" in name} == {
        "linux-modules-nvidia-580-server-open-generic",
        "linux-modules-nvidia-580-server-open-generic-hwe-24.04",
    }


BACK = """
VERSION= MANAGED={managed} UPGRADE=yes way_back=yes
{functions}
work=$PWD
say() {{ echo "$*"; }}
fail() {{ echo "$*"; exit 1; }}
pm_back() {{ :; }}
check_modules() {{ return 1; }}
modinfo() {{ echo "{module}"; }}
for name in drain_slices stop_family unload forget_settings start_up resume_slices; do
    eval "$name() {{ echo $name; }}"
done
resume_slices() {{ echo resume_slices; : >resumed; }}
version=595.45.04
echo 'nvidia-driver-cuda={before}-1' >before
back
"""


@pytest.mark.parametrize(("managed", "forgets"), [("yes", False), ("no", True)])
def test_going_back_ends_with_slices_that_serve_though_another_kernel_has_no_module(
    tmp_path: Path, managed: str, forgets: bool
) -> None:
    said = went_back(tmp_path, managed, "580.95.05")
    assert said[-3:-1] == ["start_up", "resume_slices"]
    assert said[-1].endswith("driver 580.95.05 is back and serves as before")
    assert ("forget_settings" in said) == forgets


def test_a_cut_upgrade_is_not_gone_back_to_itself(tmp_path: Path) -> None:
    said = went_back(tmp_path, "yes", "595.45.04", before="595.45.04")
    assert len(said) == 1 and said[0].startswith("driver 595.45.04 is not usable here")
    assert (tmp_path / "resumed").exists()


def test_going_back_to_a_driver_without_a_module_for_the_running_kernel_is_said(
    tmp_path: Path,
) -> None:
    assert went_back(tmp_path, "yes", "")[-1].endswith(
        "580.95.05 is installed again, but not whole"
    )


def went_back(folder: Path, managed: str, module: str, before: str = "580.95.05") -> list[str]:
    """What a rollback does and says, when DKMS has not every module of the old driver."""
    functions = (TEMPLATES / "driver" / "change.sh").read_text(encoding="utf-8")
    done = subprocess.run(
        [shutil.which("dash") or "sh", "-s"],
        input=BACK.format(functions=functions, managed=managed, module=module, before=before),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return done.stdout.splitlines()
