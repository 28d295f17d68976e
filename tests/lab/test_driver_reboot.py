"""Reboots that a driver or a GPU's mode needs: done once, and only where they are allowed."""

import os
import pty
import select
import subprocess

import pytest

from lab.lab import Lab
from tests.lab.driver_host import BOOT_ID, CHAT, LOADED, deploy, prepare
from tests.lab.fleet import ROOT, Fleet


def at_a_terminal(fleet: Fleet, answer: str) -> tuple[int, str]:
    """A deploy at a terminal, where somebody gives this answer to the question about the reboot."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        fleet.command("-y"),
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYINFRA_PROGRESS": "off"},
    )
    os.close(theirs)
    text, asked = "", False
    try:
        while chunk := _read(ours):
            text += chunk
            if not asked and "Reboot it now?" in text:
                os.write(ours, f"{answer}\n".encode())
                asked = True
    finally:
        os.close(ours)
    return run.wait(timeout=60), text


def _read(terminal: int) -> str:
    try:
        ready, _, _ = select.select([terminal], [], [], 120)
        return os.read(terminal, 65536).decode(errors="replace") if ready else ""
    except OSError:  # the other end is closed
        return ""


@pytest.mark.lab
def test_a_pending_ecc_mode_is_brought_into_use_by_one_reboot(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "1x-a100-40gb")
    ecc = {"gpu_settings": [{"ecc": False, "power_limit_w": 200}]}
    before = fleet.sh(host, BOOT_ID)
    first = deploy(fleet, CHAT, **ecc)
    assert first.code == 0, first.text
    assert "GPUs | Reboot if a mode needs it" in first.changed()
    boot_id = fleet.sh(host, BOOT_ID)
    assert boot_id != before
    mode = "nvidia-smi --query-gpu=ecc.mode.current,power.limit --format=csv,noheader"
    assert fleet.sh(host, mode) == "Disabled, 200.00 W"
    assert deploy(fleet, CHAT, **ecc).changed() == {}

    # A host that serves is not rebooted without a word; it says what waits, and goes on serving.
    refused = deploy(fleet, CHAT, gpu_settings=[{"ecc": True}])
    assert refused.code == 1 and "ECC mode is pending, and waits for a reboot" in refused.text
    assert fleet.sh(host, BOOT_ID) == boot_id
    assert fleet.sh(host, "systemctl is-active ollama-chat") == "active"
    done = deploy(fleet, CHAT, gpu_settings=[{"ecc": True}], reboot="auto")
    assert done.code == 0 and fleet.sh(host, mode).startswith("Enabled"), done.text


@pytest.mark.lab
def test_a_mig_mode_that_no_reset_brings_waits_for_the_reboot(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "1x-a100-40gb")
    lab.fault(host, "gpu-reset-refused")
    settings = {
        "gpus": [{"model": "A100-PCIE-40GB", "count": 1}],
        "mig": [{"gpus": [0], "profiles": ["1g.5gb"] * 7}],
    }
    fleet.wishes = [{"name": "small", "model": "qwen3:0.6b", "mig": "1g.5gb"}]
    run = deploy(fleet, **settings)
    assert run.code == 0, run.text
    assert "GPUs | Reboot if a mode needs it" in run.changed()
    assert fleet.sh(host, "nvidia-smi -L").count("MIG 1g.5gb") == 7
    assert deploy(fleet, **settings).changed() == {}


@pytest.mark.lab
def test_a_reboot_that_is_asked_for_happens_when_somebody_agrees(
    lab: Lab, fleet: Fleet, host: str
) -> None:
    prepare(lab, "nouveau-1x-rtx3060")
    before = fleet.sh(host, BOOT_ID)
    alone = deploy(fleet, reboot="ask")
    assert alone.code == 1 and "needs somebody at a terminal who agrees" in alone.text
    code, text = at_a_terminal(fleet, "no")
    assert code == 1 and "a reboot is needed: nouveau holds the GPUs" in text
    assert fleet.sh(host, BOOT_ID) == before
    code, text = at_a_terminal(fleet, "yes")
    assert code == 0, text
    assert fleet.sh(host, BOOT_ID) != before and fleet.sh(host, LOADED) == "580.105.08"
