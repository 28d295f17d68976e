"""Pains of NVIDIA's side that show on one host with a driver from NVIDIA's repository, and what we do about
them. The others are where their step is tested: tests/unit/test_pains.py lists all."""

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]}
NEXT_KERNEL = "6.99.0-1-amd64"
WOULD_INSTALL = "apt-get -s install nvidia-open-580 | sed -n 's/^Inst //p'"
PINS = "/etc/apt/preferences.d"


@pytest.fixture(scope="module")
def serving(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A Debian host that was bare, with one slice on a driver that we installed."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "tp", "bare-debian12-2x-rtx3090"), CHAT, driver=fleet.mirrored_driver)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


def test_pain_4_a_metapackage_without_an_upper_bound_brings_no_other_branch(serving: Fleet) -> None:
    ours = serving.sh("tp", WOULD_INSTALL)
    assert "nvidia-driver (580." in ours and "(59" not in ours

    serving.sh("tp", f"mkdir /root/pins && mv {PINS}/* /root/pins")
    trap = serving.sh("tp", WOULD_INSTALL)
    serving.sh("tp", f"mv /root/pins/* {PINS} && rmdir /root/pins")
    assert "libcuda1 [580.105.08-1] (595." in trap, "the trap is none any more"


def test_pain_2_a_kernel_that_came_without_headers_has_the_gpus_after_the_reboot(
    serving: Fleet, lab: Lab
) -> None:
    serving.sh(
        "tp",
        "sed -i 's/^Suites: bookworm$/& bookworm-updates/' /etc/apt/sources.list.d/*.sources && "
        "apt-get -qq update && apt-get -qq install -y linux-image-amd64 >/dev/null 2>&1",
    )
    assert NEXT_KERNEL not in serving.sh("tp", "dkms status")

    pids = serving.pids("tp", "chat")
    run = serving.deploy()
    assert run.code == 0, run.text
    assert "Driver | Install the NVIDIA driver" in run.changed()
    assert serving.pids("tp", "chat") == pids
    lab.reboot("tp")

    assert serving.sh("tp", "uname -r") == NEXT_KERNEL
    assert len(serving.sh("tp", "nvidia-smi -L").splitlines()) == 2
    serving.sh(
        "tp", "timeout 60 sh -c 'until systemctl is-active -q ollama-chat; do sleep 0.2; done'"
    )
    run = serving.deploy()
    assert run.code == 0 and run.changed() == {}, run.text


def test_pain_3_modules_that_the_card_cannot_use_are_refused_before_anything_changes(
    fleet: Fleet, lab: Lab
) -> None:
    """Pascal has no open modules; that the right ones are chosen unasked is tests/lab/test_driver.py's."""
    host = bare(lab, "tp3", "bare-1x-gtx1080")
    fleet.add(host, CHAT, driver=fleet.mirrored_driver | {"flavour": "open"})
    run = fleet.deploy()
    assert run.code == 1 and "Traceback" not in run.text
    assert "proprietary" in run.text, run.text
    assert fleet.sh(host, "ls /opt; ls /etc/apt/sources.list.d").splitlines() == ["lab.sources"]
