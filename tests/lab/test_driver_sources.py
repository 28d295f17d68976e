"""Where a driver comes from: lists and kernels of others that are in the way, on real apt and dnf."""

import pytest

from lab.lab import Lab
from tests.lab.driver_host import (
    BARE,
    CHAT,
    LOADED,
    REPOSITORY,
    deploy,
    driver_changes,
    fingerprint,
    prepare,
)
from tests.lab.fleet import Fleet

ROCKY = "bare-rocky9-2x-rtx3090"
NEXT_KERNEL = "6.99.0-1"


@pytest.mark.lab
def test_pain_8_lists_of_the_same_repository_with_another_key_are_moved_aside(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    """apt refuses all work over two lists of one address that name different keys."""
    prepare(lab, BARE)
    folder = "/etc/apt/sources.list.d"
    address = f"{REPOSITORY}/debian12/x86_64/ /"
    fleet.sh(
        host,
        "touch /usr/share/keyrings/cuda-archive-keyring.gpg; "
        f"echo 'deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] {address}' "
        f">{folder}/cuda-debian12-x86_64.list; "
        f"echo 'deb [trusted=yes] {REPOSITORY}/ubuntu2204/x86_64/ /' "
        f">{folder}/graphics-drivers-ubuntu-ppa.list",
    )
    run = deploy(fleet)
    assert run.code == 0 and fleet.sh(host, LOADED) == "580.105.08", run.text
    left = fleet.sh(host, f"ls {folder}").split()
    assert left == [
        "cuda-debian12-x86_64.list.before-fleet",
        "graphics-drivers-ubuntu-ppa.list.before-fleet",
        "lab.sources",
        "ollama-fleet-nvidia.sources",
    ]
    fleet.sh(host, "apt-get -o APT::Update::Error-Mode=any update")
    assert driver_changes(deploy(fleet)) == []


@pytest.mark.lab
def test_pain_8_a_list_of_dnf_with_a_dead_key_is_moved_aside(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, ROCKY)
    text = f"[cuda]\\nname=cuda\\nbaseurl={REPOSITORY}/rhel9/x86_64\\ngpgcheck=1\\n"
    fleet.sh(host, f"printf '{text}gpgkey=file:///nowhere\\n' >/etc/yum.repos.d/cuda-rhel9.repo")
    run = deploy(fleet, driver={"key_fingerprint": fingerprint(lab, "cuda-rhel")})
    assert run.code == 0 and fleet.sh(host, LOADED) == "580.105.08", run.text
    listed = fleet.sh(host, "ls /etc/yum.repos.d")
    assert "cuda-rhel9.repo.before-fleet" in listed and "cuda-rhel9.repo\n" not in listed


@pytest.mark.lab
def test_a_mirror_that_dropped_the_running_kernels_headers_costs_one_reboot(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    """The newest kernel gets the driver beside the running one."""
    prepare(lab, ROCKY)
    running = fleet.sh(host, "uname -r").partition("-")[0]
    fleet.sh(
        host,
        f"echo 'excludepkgs=kernel-devel-{running}-*' >>/etc/dnf/dnf.conf; "
        "sed -i 's/^enabled=0/enabled=1/' /etc/yum.repos.d/*.repo",
    )
    key = {"key_fingerprint": fingerprint(lab, "cuda-rhel")}
    refused = deploy(fleet, driver=key, reboot="never")
    assert refused.code == 1 and "a reboot is needed" in refused.text, refused.text

    run = deploy(fleet, CHAT, driver=key, reboot="auto")
    assert run.code == 0, run.text
    assert fleet.sh(host, "uname -r").startswith(NEXT_KERNEL)
    assert fleet.sh(host, LOADED) == "580.105.08"
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    assert driver_changes(deploy(fleet, CHAT, driver=key)) == []


@pytest.mark.lab
def test_headers_that_nobody_has_are_said_before_anything_changes(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, ROCKY)
    fleet.sh(host, "echo 'excludepkgs=kernel-devel*' >>/etc/dnf/dnf.conf")
    run = deploy(fleet, driver={"key_fingerprint": fingerprint(lab, "cuda-rhel")})
    assert run.code == 1 and "no package kernel-devel-" in run.text, run.text
    assert "nvidia" not in fleet.sh(host, "rpm -qa")


@pytest.mark.lab
def test_pain_2_the_next_kernel_comes_with_its_headers_and_its_module(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    """Somebody upgrades the host and reboots it; no deploy comes in between."""
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    fleet.sh(
        host,
        "sed -i 's/^Suites: bookworm$/& bookworm-updates/' /etc/apt/sources.list.d/*.sources; "
        "apt-get update; apt-get -y dist-upgrade; apt-get -y install linux-image-amd64",
    )
    lab.reboot(host)
    assert fleet.sh(host, "uname -r").startswith(NEXT_KERNEL)
    assert fleet.sh(host, LOADED) == "580.105.08"
    fleet.sh(
        host, "timeout 60 sh -c 'until systemctl is-active -q ollama-chat; do sleep 0.2; done'"
    )
    assert deploy(fleet, CHAT).changed() == {}
