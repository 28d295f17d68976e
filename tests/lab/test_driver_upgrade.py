"""Upgrades of the NVIDIA driver on serving and idle lab hosts: no request is cut, and what fails goes
back."""

import json
import re
import subprocess
from dataclasses import replace

import pytest

from lab.lab import Lab
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.cli.ask_host import Login, ask
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from ollama_fleet.release.wanted import wanted_release
from tests.lab.driver_host import BARE, CHAT, HOST, deploy, driver_changes, loaded, prepare
from tests.lab.fleet import ROOT, Fleet


@pytest.mark.lab
@pytest.mark.parametrize(
    "profile",
    [BARE, "bare-ubuntu2404-2x-rtx3090", "bare-rocky9-2x-rtx3090"],
)
def test_a_serving_host_is_upgraded_and_a_driver_that_fails_goes_back(
    lab: Lab, fleet: Fleet, host: str, profile: str
) -> None:
    prepare(lab, profile)
    first = deploy(fleet, CHAT)
    assert first.code == 0, first.text

    for broken in ("595.45.04", "590.44.01"):  # one that does not build, one that sees no GPU
        failed = deploy(fleet, CHAT, driver={"version": broken})
        assert failed.code == 1, failed.text
        assert f"driver {broken} does not work here" in failed.text, failed.text
        assert "driver 580.105.08 is back and serves as before" in failed.text, failed.text
        assert loaded(fleet) == "580.105.08"
        assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"

    upgraded = deploy(fleet, CHAT, driver={"branch": 595})
    assert upgraded.code == 0 and loaded(fleet) == "595.58.03", upgraded.text
    assert driver_changes(deploy(fleet, CHAT, driver={"branch": 595})) == []

    back = deploy(fleet, CHAT, driver={"branch": 580})
    assert back.code == 0 and loaded(fleet) == "580.105.08", back.text


# A monitoring service of NVIDIA's own keeps the GPUs open.
DCGM = """
cat >/etc/systemd/system/nvidia-dcgm.service <<'END'
[Service]
ExecStart=/bin/sh -c "exec sleep 1000 </dev/nvidia0"
END
systemctl daemon-reload && systemctl start nvidia-dcgm
"""


@pytest.mark.lab
def test_an_idle_host_is_upgraded_without_a_reboot(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, "bare-ubuntu2404-2x-rtx3090")
    assert deploy(fleet).code == 0
    fleet.sh(host, DCGM)
    monitor = fleet.sh(host, "systemctl show -p MainPID --value nvidia-dcgm")
    boot = fleet.sh(host, "cat /proc/sys/kernel/random/boot_id")

    upgraded = deploy(fleet, driver={"branch": 595})
    assert upgraded.code == 0 and loaded(fleet) == "595.58.03", upgraded.text
    assert fleet.sh(host, "cat /proc/sys/kernel/random/boot_id") == boot
    assert fleet.sh(host, "systemctl is-active nvidia-dcgm") == "active"
    assert fleet.sh(host, "systemctl show -p MainPID --value nvidia-dcgm") != monitor
    assert driver_changes(deploy(fleet, driver={"branch": 595})) == []


def failed_checks(fleet: Fleet) -> dict[str, str]:
    """What the checks of a verification hold against the host as it is, with what they found."""
    path = fleet.inventory.with_suffix(".yml")
    ((_, data),) = fleet_hosts(load_fleet(path), path)
    ssh = fleet.lab.paths.root / "ssh"
    login = Login(fleet.lab.address(HOST), "root", None, ssh / "id_ed25519", ssh / "known_hosts")
    plan = replace(data["plan"], release=wanted_release(data.get))
    results = judge(plan, ask(login, verification_questions(plan)))
    return {result.check: result.found for result in results if result.failed}


UNATTENDED = """
apt-get -qq update && apt-get -qq install -y unattended-upgrades >/dev/null 2>&1
echo 'Unattended-Upgrade::Origins-Pattern {"origin=*";};' >/etc/apt/apt.conf.d/99-all-origins
"""


@pytest.mark.lab
@pytest.mark.breaks("driver", "driver pin")
def test_pain_1_an_unattended_upgrade_does_not_change_the_driver_or_is_made_good(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT, driver={"version": "580.95.05"}).code == 0
    fleet.sh(host, UNATTENDED)
    # First all that keeps the driver as it is, then the blacklist alone, then nothing.
    for step in (
        "rm /etc/apt/preferences.d/00-ollama-fleet-nvidia; apt-get -y install nvidia-driver-pinning-580",
        "rm /etc/apt/apt.conf.d/52ollama-fleet-nvidia",
    ):
        assert "No packages found" in fleet.sh(host, "unattended-upgrade -v 2>&1")
        fleet.sh(host, step)
    assert failed_checks(fleet).keys() == {"driver pin", "files"}

    fleet.sh(host, "unattended-upgrade -v")
    assert lab.ssh(host, "nvidia-smi").returncode != 0
    assert failed_checks(fleet)["driver"] == "580.95.05 loaded, 580.105.08 in user space"

    repaired = deploy(fleet, CHAT)
    assert repaired.code == 0 and loaded(fleet) == "580.105.08", repaired.text
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    assert failed_checks(fleet) == {}


@pytest.mark.lab
def test_a_strangers_process_is_not_ended_for_an_upgrade(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    fleet.sh(host, "systemd-run -q --unit=training sh -c 'exec sleep 1000 </dev/nvidia1'")

    refused = deploy(fleet, CHAT, driver={"branch": 595})
    assert (
        refused.code == 1 and "these hold the GPUs and are not ours to stop: sleep" in refused.text
    )
    assert fleet.sh(host, "systemctl is-active training ollama-chat") == "active\nactive"
    assert loaded(fleet) == "580.105.08"

    # Where a reboot is allowed, it does what an unload cannot; and the way back goes over it, too.
    failed = deploy(fleet, CHAT, driver={"version": "590.44.01"}, reboot="auto")
    assert failed.code == 1 and "Driver | Reboot if the driver needs it" in failed.text, failed.text
    assert "driver 590.44.01 does not work here" in failed.text, failed.text
    assert "driver 580.105.08 is back and serves as before" in failed.text
    assert loaded(fleet) == "580.105.08"
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"

    fleet.sh(host, "systemd-run -q --unit=training sh -c 'exec sleep 1000 </dev/nvidia1'")
    done = deploy(fleet, CHAT, driver={"branch": 595}, reboot="auto")
    assert done.code == 0 and loaded(fleet) == "595.58.03", done.text
    assert "Driver | Reboot if the driver needs it" in done.changed()


ASKED = '{"model": "qwen3:0.6b", "prompt": "Count.", "options": {"num_predict": 200}}'


@pytest.mark.lab
def test_a_request_that_runs_ends_before_the_driver_goes(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    lab.fault(host, "ollama-slow", tokens_per_s=4.0)
    fleet.sh(host, f"cat >/root/asked <<'END'\n{ASKED}\nEND")
    curl = "curl -s http://127.0.0.1:11434/api/generate -d @/root/asked -o /root/answer"
    fleet.sh(host, f"systemd-run -q {curl}")
    fleet.hosts[HOST]["driver"]["branch"] = 595
    with subprocess.Popen(
        fleet.command("-y"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        fleet.sh(
            host, "timeout 200 sh -c 'until grep -q done.:true /root/answer; do sleep 0.1; done'"
        )
        # Only now: the new driver is proved, and its speed judged, by requests of the deploy's own.
        lab.clear(host, "ollama-slow")
        text, _ = run.communicate(timeout=200)
    assert run.returncode == 0 and loaded(fleet) == "595.58.03", text
    lines = fleet.sh(host, "cat /root/answer").splitlines()
    assert len(lines) >= 200 and json.loads(lines[-1])["done"] is True
    # The host's own watch may wait behind the request, and is counted as well.
    assert re.search(r"draining ollama-chat\.service: [12] open connections", text), text
    assert "connections are still open after" not in text, text


@pytest.mark.lab
def test_a_power_cut_in_an_upgrade_is_made_good_by_the_next_run(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, BARE)
    assert deploy(fleet, CHAT).code == 0
    # In the middle of the transaction: one package is unpacked, none is configured.
    fleet.sh(
        host,
        "systemd-run -q sh -c 'until [ -e /usr/src/nvidia-595.58.03 ]; do sleep 0.02; done; "
        "pkill -STOP -x dpkg; exec systemctl reboot --force --force'",
    )
    cut = deploy(fleet, CHAT, driver={"branch": 595})
    assert cut.code == 1
    lab.up([host])
    assert fleet.sh(host, "dpkg --audit") != ""
    done = deploy(fleet, CHAT, driver={"branch": 595})
    assert done.code == 0 and loaded(fleet) == "595.58.03", done.text
    # It waited for a driver, and would have started with half of one.
    assert "stopping ollama-chat" in done.text, done.text
    assert fleet.sh(host, "dpkg --audit") == ""
