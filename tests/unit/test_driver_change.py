"""The script that exchanges a driver, as text and as shell."""

import base64
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ollama_fleet.driver.change import steps_of
from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.state import State
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import DriverRequest, Provision
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


def test_a_fresh_host_is_neither_drained_nor_unloaded() -> None:
    text = script(bare())
    assert (
        "UNLOAD=no\n" in text and "UPGRADE=no\n" in text and "systemctl stop $draining" not in text
    )


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
