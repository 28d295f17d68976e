"""Secure Boot in the lab: an unknown key is rejected until somebody at the console confirms it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import PROGRAMS, SimHost

VERSION = "580.95.05"
KEY = "/var/lib/dkms/mok.pub"
VARIABLE = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    found = hardware(load_profile("secureboot-debian12-1x-rtx3060"), "unit01")
    with SimHost(tmp_path, {**found, "headers": True}) as host:
        assert host.run("dkms", "generate_mok").returncode == 0
        yield host


def request(host: SimHost, passwords: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / "mokutil", "--import", KEY],
        env=host.env,
        input=passwords,
        capture_output=True,
        text=True,
    )


def test_state_is_told_by_mokutil_and_the_efi_variable(host: SimHost) -> None:
    assert host.run("mokutil", "--sb-state").stdout == "SecureBoot enabled\n"
    host.run("lab-driver", "--unloaded")
    assert (host.hw / VARIABLE).read_bytes()[-1] == 1


def test_module_signed_by_an_unknown_key_is_rejected(host: SimHost) -> None:
    for signer in ("dkms", None):
        host.install(VERSION, signed_by=signer)
        rejected = host.run("modprobe", "nvidia")
        assert (rejected.returncode, rejected.stderr) == (
            1,
            "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service\n",
        )
    assert "Loading of module with unavailable key is rejected" in host.kernel_log
    host.reboot()
    assert not host.loaded()


def test_module_signed_by_the_distribution_loads(host: SimHost) -> None:
    host.install(VERSION, signed_by="canonical")

    assert host.run("modprobe", "nvidia").returncode == 0


def test_key_is_trusted_only_after_request_console_and_reboot(host: SimHost) -> None:
    host.install(VERSION)
    assert host.run("mokutil", "--test-key", KEY).stdout == f"{KEY} is not enrolled\n"
    assert request(host, "one\none\n").returncode == 0
    assert "already in the enrollment request" in host.run("mokutil", "--test-key", KEY).stdout

    host.reboot()  # nobody was at the console
    assert not host.loaded()

    host.fault("mok-enrolled")
    assert host.run("modprobe", "nvidia").returncode == 1  # not before the next boot
    host.reboot()

    assert "nvidia" in host.loaded()
    assert host.run("mokutil", "--test-key", KEY).stdout == f"{KEY} is already enrolled\n"
    assert host.run("mokutil", "--list-enrolled").stdout.startswith("[key 1]\n")


@pytest.mark.parametrize("passwords", ["one\ntwo\n", "\n\n", ""])
def test_request_without_the_same_password_twice_is_refused(host: SimHost, passwords: str) -> None:
    assert request(host, passwords).returncode == 1
    assert host.run("mokutil", "--list-new").stdout == "MokNew is empty\n"


@pytest.mark.parametrize("more", [["--root-pw"], ["--hash-file", "/root/hash"]])
def test_request_may_bring_its_password_along(host: SimHost, more: list[str]) -> None:
    assert host.run("mokutil", "--import", KEY, *more).returncode == 0
    assert host.run("mokutil", "--list-new").stdout.startswith("[key 1]\n")


def test_ubuntu_keeps_its_key_where_shim_does(tmp_path: Path) -> None:
    profile = load_profile("secureboot-ubuntu2404-1x-rtx3060")
    with SimHost(tmp_path, hardware(profile, "unit01")) as host:
        host.run("dkms", "generate_mok")
        assert (host.root / "var/lib/shim-signed/mok/MOK.der").exists()
        assert not (host.root / "var/lib/dkms/mok.pub").exists()


def test_machine_without_secure_boot_loads_everything(tmp_path: Path) -> None:
    found = hardware(load_profile("secureboot-debian12-1x-rtx3060"), "unit01")
    with SimHost(tmp_path, {**found, "secure_boot": False}) as host:
        host.install(VERSION, signed_by=None)
        assert host.run("mokutil", "--sb-state").stdout == "SecureBoot disabled\n"
        assert host.run("modprobe", "nvidia").returncode == 0


def test_bios_machine_has_no_efi_variables(tmp_path: Path) -> None:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        asked = host.run("mokutil", "--sb-state")
    assert asked.returncode != 0 and "EFI variables are not supported" in asked.stderr
    assert not (host.hw / VARIABLE).exists()
