"""What goes wrong around a driver on real hosts: hands, full disks, cut runs, mirrors and proxies."""

import subprocess
import sys
import time

import pytest

from lab.lab import Lab
from tests.lab.driver_host import (
    BARE,
    CHAT,
    HOST,
    LOADED,
    deploy,
    driver_changes,
    fingerprint,
    prepare,
)
from tests.lab.fleet import ROOT, Fleet


@pytest.mark.lab
def test_a_key_of_the_inventory_is_enough(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    served = lab.paths.root / "mirror/compute/cuda/repos/debian12/x86_64/3bf863cc.pub"
    other = lab.paths.root / "mirror/compute/cuda/repos/debian13/x86_64/8793F200.pub"
    (fleet.folder / "other.pub").write_bytes(other.read_bytes())
    refused = deploy(fleet, driver={"key": "other.pub"})
    assert refused.code == 1 and "apt cannot use" in refused.text, refused.text
    assert "nvidia" not in fleet.sh(host, "ls /etc/apt/sources.list.d /etc/apt/keyrings")

    binary = subprocess.run(["gpg", "--dearmor"], input=served.read_bytes(), capture_output=True)
    (fleet.folder / "mirror.gpg").write_bytes(binary.stdout)
    done = deploy(fleet, driver={"key": "mirror.gpg"})
    assert done.code == 0 and fleet.sh(host, LOADED) == "580.105.08", done.text
    assert driver_changes(deploy(fleet, driver={"key": "mirror.gpg"})) == []


@pytest.mark.lab
def test_an_old_gpu_where_its_branch_is_not_to_be_had_changes_nothing(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "bare-1x-gtx1080")
    fleet.sh(host, "sed -i s/^VERSION_ID=.*/VERSION_ID=13/ /etc/os-release")
    run = deploy(fleet, driver={"key_fingerprint": fingerprint(lab, "cuda-debian13")})
    assert run.code == 1, run.text
    assert "no driver of branch 580 with the proprietary kernel modules for Debian 13" in run.text
    assert "nvidia" not in fleet.sh(host, "ls /etc/apt/sources.list.d /etc/apt/keyrings")


@pytest.mark.lab
def test_everything_is_fetched_through_the_proxy(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    script = ROOT / "tests/lab/logging_proxy.py"
    with subprocess.Popen(
        [sys.executable, script, "10.77.0.1"], stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout
        address = proxy.stdout.readline().strip()
        fleet.sh(host, "ip route add blackhole 10.77.0.2")
        toolkit = {
            "repository": "http://10.77.0.2/libnvidia-container",
            "key_fingerprint": fingerprint(lab, "toolkit"),
        }
        run = deploy(
            fleet, CHAT, proxy=address, container_runtime="docker", container_toolkit=toolkit
        )
        proxy.terminate()
        fetched = proxy.stdout.read()
    assert run.code == 0, run.text
    for part in ("/compute/cuda/", "/debian/", "/libnvidia-container/", "/ollama/", "/v2/"):
        assert f"http://10.77.0.2{part}" in fetched
    # A loopback request that took the proxy would show here.
    assert "127.0.0.1" not in fetched


@pytest.mark.lab
def test_a_hand_on_the_host_is_put_right(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    removed = (
        "/etc/apt/preferences.d/00-ollama-fleet-nvidia",
        "/etc/modules-load.d/ollama-fleet-nvidia.conf",
        "/etc/apt/apt.conf.d/52ollama-fleet-nvidia",
    )
    for path in removed:
        before = fleet.sh(host, f"cat {path}")
        fleet.sh(host, f"rm {path}")
        run = deploy(fleet, CHAT)
        assert run.code == 0 and driver_changes(run), run.text
        assert fleet.sh(host, f"cat {path}") == before

    # What a power cut leaves of a file that was just written; DKMS calls it installed.
    fleet.sh(host, ": >$(find /lib/modules/$(uname -r) -name 'nvidia.ko*')")
    run = deploy(fleet, CHAT)
    assert run.code == 0 and driver_changes(run), run.text
    assert fleet.sh(host, "modinfo -F version nvidia") == "580.105.08"

    # On hold: the inventory wins where it asks for another driver, the hold stays.
    fleet.sh(host, "apt-mark hold nvidia-driver-cuda")
    assert driver_changes(deploy(fleet, CHAT)) == []
    upgraded = deploy(fleet, CHAT, driver={"branch": 595})
    assert upgraded.code == 0 and fleet.sh(host, LOADED) == "595.58.03", upgraded.text
    assert "on hold, and changed all the same" in upgraded.text
    assert fleet.sh(host, "apt-mark showhold") == "nvidia-driver-cuda"


@pytest.mark.lab
def test_a_disk_that_fills_up_leaves_the_old_driver_serving(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    lab.fault(host, "disk-full")
    run = deploy(fleet, CHAT, driver={"branch": 595})
    assert run.code == 1 and "MiB are free on" in run.text, run.text
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    lab.clear(host, "disk-full")
    assert fleet.sh(host, LOADED) == "580.105.08"
    done = deploy(fleet, CHAT, driver={"branch": 595})
    assert done.code == 0 and fleet.sh(host, LOADED) == "595.58.03", done.text


@pytest.mark.lab
@pytest.mark.parametrize("after_s", [2.0, 3.0, 4.5])
def test_a_run_that_is_killed_in_an_upgrade_ends_well(
    lab: Lab, fleet: Fleet, host: str, after_s: float
) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    fleet.hosts[HOST]["driver"]["branch"] = 595
    run = subprocess.Popen(
        fleet.command("-y"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after_s)
    run.kill()
    run.wait()
    fleet.sh(host, "until flock -n /run/ollama-fleet/lock true; do sleep 1; done")
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    assert fleet.sh(host, "dpkg --audit") == ""
    done = deploy(fleet, CHAT, driver={"branch": 595})
    assert done.code == 0 and fleet.sh(host, LOADED) == "595.58.03", done.text
