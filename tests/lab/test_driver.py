"""The NVIDIA driver on bare, half-done and serving lab hosts, from the distributions' own apt and dnf.

Only the driver's part of a deploy, but where slices have to serve.
"""

import json
import subprocess
from dataclasses import replace

import pytest

from lab.lab import Lab
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.cli.ask_host import Login, ask
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from ollama_fleet.planner.plan import Release
from tests.lab.driver_host import BARE, CHAT, HOST, deploy, driver_changes, loaded, prepare
from tests.lab.fleet import MIRROR, ROOT, Fleet

PROFILES = [
    (BARE, "580.105.08", "Open"),
    ("bare-debian13-2x-rtx3090", "595.58.03", "Open"),
    ("bare-ubuntu2204-2x-rtx3090", "580.105.08", "Open"),
    ("bare-ubuntu2404-2x-rtx3090", "580.105.08", "Open"),
    ("bare-rocky8-2x-rtx3090", "580.105.08", "Open"),
    ("bare-rocky9-2x-rtx3090", "580.105.08", "Open"),
    ("bare-rocky10-2x-rtx3090", "580.105.08", "Open"),
    ("bare-1x-gtx1080", "580.105.08", "x86_64 Kernel Module"),
    ("bare-1x-rtx-pro-6000", "580.105.08", "Open"),
    ("secureboot-ubuntu2404-1x-rtx3060", "580.95.05", "Open"),
]


# Images that are no kernel's own: every server has some, and nothing ever writes them again.
NEVER_MADE_ANEW = "/boot/initramfs-0-rescue-4711.img /boot/initrd.img-6.1.0-1.old-dkms"
# On these a slice serves from the driver.
SERVING = {row[0] for row in PROFILES if "ubuntu2404" in row[0] or "rocky10" in row[0]}


@pytest.mark.lab
@pytest.mark.parametrize(
    ("profile", "version", "flavour"), PROFILES, ids=[row[0] for row in PROFILES]
)
def test_a_bare_host_gets_its_driver_and_keeps_it(
    lab: Lab, fleet: Fleet, host: str, profile: str, version: str, flavour: str
) -> None:
    prepare(lab, profile)
    fleet.sh(host, f"touch -d 2020-01-01 {NEVER_MADE_ANEW}")
    slices = [CHAT] if profile in SERVING else []
    first = deploy(fleet, *slices)
    assert first.code == 0, first.text
    assert loaded(fleet) == version
    assert flavour in fleet.sh(host, "head -n 1 /proc/driver/nvidia/version")
    assert fleet.sh(host, "systemctl is-active nvidia-persistenced") == "active"

    second = deploy(fleet, *slices)
    assert second.code == 0 and second.changed() == {}, second.text

    upgrade = "apt-get -s dist-upgrade | grep ^Inst || :"
    if "rocky" in profile:
        upgrade = "dnf -q --assumeno upgrade 2>&1 | grep -i nvidia || :"
    elif "secureboot" not in profile:  # where the modules are Canonical's, and so are the versions
        pinned = fleet.sh(host, "dpkg-query -W -f '${Package}\\n' 'nvidia-driver-pinning-*'")
        assert pinned == f"nvidia-driver-pinning-{version.partition('.')[0]}"
    assert "nvidia" not in fleet.sh(host, upgrade)

    lab.reboot(host)
    assert loaded(fleet) == version


# Writes down each boot that comes after it.
COUNT_BOOTS = """
cat >/etc/systemd/system/count-boots.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/sh -c "cat /proc/sys/kernel/random/boot_id >>/root/boots"
[Install]
WantedBy=multi-user.target
END
systemctl enable -q count-boots
"""


@pytest.mark.lab
def test_pain_7_a_host_with_nouveau_reboots_once(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, "nouveau-1x-rtx3060")
    fleet.sh(host, COUNT_BOOTS)
    first = deploy(fleet, CHAT)
    assert first.code == 0, first.text
    assert "Driver | Reboot if the driver needs it" in first.changed()
    assert len(fleet.sh(host, "cat /root/boots").split()) == 1
    assert loaded(fleet) == "580.105.08"
    # The same run went on to slices that serve.
    assert "Slices | Run one unit per slice" in first.changed()
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    assert deploy(fleet, CHAT).changed() == {}


@pytest.mark.lab
def test_a_reboot_that_is_forbidden_is_not_done(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, "nouveau-1x-rtx3060")
    before = fleet.sh(host, "cat /proc/sys/kernel/random/boot_id")
    run = deploy(fleet, reboot="never")
    assert run.code == 1 and "a reboot is needed: nouveau holds the GPUs" in run.text
    assert fleet.sh(host, "cat /proc/sys/kernel/random/boot_id") == before


@pytest.mark.lab
def test_old_beside_blackwell_is_refused_before_anything_changes(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "bare-pascal-blackwell")
    run = deploy(fleet)
    assert run.code == 1 and "no driver has both" in run.text
    assert fleet.sh(host, "ls /etc/apt/sources.list.d").count("nvidia") == 0


@pytest.mark.lab
@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ({"key_fingerprint": "A" * 40}, "has the fingerprint"),
        ({"repository": f"{MIRROR}/nowhere"}, "is not there"),
        ({"repository": "http://10.77.0.9/cuda"}, "cannot fetch"),
        ({"version": "580.1.1"}, "the repository has no driver 580.1.1"),
    ],
)
def test_pain_8_a_repository_that_is_not_right_changes_nothing(
    lab: Lab, fleet: Fleet, host: str, driver: dict[str, str], words: str
) -> None:
    prepare(lab, BARE)
    run = deploy(fleet, driver=driver)
    assert run.code == 1 and words in run.text, run.text
    assert "nvidia" not in fleet.sh(host, "dpkg-query -W -f '${Package}\\n'")


@pytest.mark.lab
def test_pain_6_secure_boot_waits_for_the_console(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, "secureboot-debian12-1x-rtx3060")
    refused = deploy(fleet)
    assert refused.code == 1 and "Secure Boot is on" in refused.text
    assert "nvidia" not in fleet.sh(host, "dpkg-query -W -f '${Package}\\n'; ls /etc/modprobe.d")

    ignored = deploy(fleet, driver={"secure_boot": "ignore"})
    assert ignored.code == 1, "a module that does not load is no success"
    assert "Secure Boot rejects the driver's module" in ignored.text, ignored.text
    fleet.sh(
        host, "apt-get -y purge 'nvidia-*' 'libnvidia-*' >/dev/null; rm -f /etc/modprobe.d/ollama-*"
    )

    asked = deploy(fleet, driver={"secure_boot": "enroll"})
    assert asked.code == 1 and "Enroll MOK" in asked.text
    lab.fault(host, "mok-enrolled")
    lab.reboot(host)
    done = deploy(fleet, driver={"secure_boot": "enroll"})
    assert done.code == 0 and loaded(fleet) == "580.105.08", done.text


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
        assert f"driver {broken} does not work here" in failed.text
        assert "driver 580.105.08 is back and serves as before" in failed.text
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
    plan = replace(data["plan"], release=Release(fleet.version, {}, "", None))
    results = judge(plan, ask(login, verification_questions(plan)))
    return {result.check: result.found for result in results if result.failed}


UNATTENDED = """
apt-get -qq update && apt-get -qq install -y unattended-upgrades >/dev/null 2>&1
echo 'Unattended-Upgrade::Origins-Pattern {"origin=*";};' >/etc/apt/apt.conf.d/99-all-origins
"""


@pytest.mark.lab
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
    assert failed_checks(fleet).keys() == {"driver pin"}

    fleet.sh(host, "unattended-upgrade -v")
    assert lab.ssh(host, "nvidia-smi").returncode != 0
    assert failed_checks(fleet)["driver"] == "580.95.05 loaded, 580.105.08 in user space"

    repaired = deploy(fleet, CHAT)
    assert repaired.code == 0 and loaded(fleet) == "580.105.08", repaired.text
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    assert failed_checks(fleet) == {}


@pytest.mark.lab
def test_pain_9_a_fabric_manager_of_another_version_is_repaired(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "bare-8x-h100")
    assert deploy(fleet).code == 0
    assert fleet.sh(host, "systemctl is-active nvidia-fabricmanager") == "active"
    fleet.sh(
        host,
        "rm /etc/apt/preferences.d/00-ollama-fleet-nvidia; "
        "apt-get -y --allow-downgrades install nvidia-fabricmanager=580.95.05-1",
    )
    run = deploy(fleet)
    assert run.code == 0, run.text
    assert "580.105.08" in fleet.sh(host, "dpkg-query -W nvidia-fabricmanager")
    assert fleet.sh(host, "systemctl is-active nvidia-fabricmanager") == "active"


@pytest.mark.lab
def test_pain_5_a_driver_of_another_source_is_purged_only_when_told(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, BARE)
    fleet.sh(
        host, "sed -i 's/^Components:.*/& non-free/' /etc/apt/sources.list.d/*; apt-get update"
    )
    fleet.sh(host, "DEBIAN_FRONTEND=noninteractive apt-get -y install nvidia-driver")
    refused = deploy(fleet)
    assert refused.code == 1 and "driver: {replace: true}" in refused.text, refused.text
    done = deploy(fleet, driver={"replace": True})
    assert done.code == 0 and loaded(fleet) == "580.105.08", done.text


@pytest.mark.lab
def test_a_power_cut_in_the_very_first_installation_is_made_good(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, BARE)
    fleet.sh(
        host,
        "systemd-run -q sh -c 'until [ -e /usr/src/nvidia-580.105.08 ]; do sleep 0.02; done; "
        "exec systemctl reboot --force --force'",
    )
    assert deploy(fleet, CHAT).code == 1
    lab.up([host])
    assert fleet.sh(host, "dpkg --audit") != ""

    done = deploy(fleet, CHAT)
    assert done.code == 0 and loaded(fleet) == "580.105.08", done.text
    assert fleet.sh(host, "dpkg --audit") == ""
    assert "nvidia-uvm" in fleet.sh(host, "cat /etc/modules-load.d/ollama-fleet-nvidia.conf")
    assert deploy(fleet, CHAT).changed() == {}


@pytest.mark.lab
def test_the_fabric_manager_of_somebody_elses_driver_leaves_no_source_behind(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    """It would upgrade the driver, too, which is not ours."""
    prepare(lab, "8x-h100")
    fleet.sh(host, "systemctl disable --now nvidia-fabricmanager")
    run = deploy(fleet)
    assert run.code == 0, run.text
    assert loaded(fleet) == "580.95.05"
    assert "580.95.05" in fleet.sh(host, "dpkg-query -W nvidia-fabricmanager")
    assert fleet.sh(host, "systemctl is-active nvidia-fabricmanager") == "active"
    assert fleet.sh(host, "ls /etc/apt/sources.list.d /etc/apt/keyrings").count("nvidia") == 0
    assert deploy(fleet).changed() == {}


@pytest.mark.lab
def test_an_installation_that_was_cut_off_is_finished(lab: Lab, fleet: Fleet, host: str) -> None:
    prepare(lab, BARE)
    assert deploy(fleet).code == 0
    fleet.sh(
        host,
        "apt-get -y install --reinstall --download-only nvidia-smi; "
        "dpkg --unpack /var/cache/apt/archives/nvidia-smi_580.105.08*.deb; "
        "rm /etc/modules-load.d/ollama-fleet-nvidia.conf",
    )
    run = deploy(fleet)
    assert run.code == 0 and driver_changes(run), run.text
    assert fleet.sh(host, "dpkg --audit") == ""
    assert driver_changes(deploy(fleet)) == []


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


ASKED = '{"model": "qwen3:0.6b", "prompt": "Count.", "options": {"num_predict": 60}}'


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
            host, "timeout 60 sh -c 'until grep -q done.:true /root/answer; do sleep 0.1; done'"
        )
        # Only now: the new driver is proved, and its speed judged, by requests of the deploy's own.
        lab.clear(host, "ollama-slow")
        text, _ = run.communicate(timeout=200)
    assert run.returncode == 0 and loaded(fleet) == "595.58.03", text
    lines = fleet.sh(host, "cat /root/answer").splitlines()
    assert len(lines) >= 60 and json.loads(lines[-1])["done"] is True
    assert "draining ollama-chat.service: 1 open connections" in text, text


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
        "exec systemctl reboot --force --force'",
    )
    cut = deploy(fleet, CHAT, driver={"branch": 595})
    assert cut.code == 1
    lab.up([host])
    assert fleet.sh(host, "dpkg --audit") != ""
    done = deploy(fleet, CHAT, driver={"branch": 595})
    assert done.code == 0 and loaded(fleet) == "595.58.03", done.text
    assert fleet.sh(host, "dpkg --audit") == ""
