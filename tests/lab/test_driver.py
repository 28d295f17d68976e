"""The NVIDIA driver on bare, half-done and serving lab hosts, from the distributions' own apt and dnf.

Only the driver's part of a deploy, but where slices have to serve.
"""

import pytest

from lab.lab import Lab
from tests.lab.driver_host import BARE, CHAT, deploy, driver_changes, loaded, prepare
from tests.lab.fleet import MIRROR, Fleet

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
        "pkill -STOP -x dpkg; exec systemctl reboot --force --force'",
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
