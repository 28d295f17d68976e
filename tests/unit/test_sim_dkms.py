"""dkms, update-initramfs and dracut of a lab host do to the disk what the real ones do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost

RUNNING, NEXT = os.uname().release, "6.99.0-1-amd64"
VERSION = "580.95.05"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    """Two kernels; the running one has headers."""
    with SimHost(tmp_path, hardware(load_profile("two-kernels-2x-rtx3090"), "unit01")) as host:
        add_source(host, VERSION)
        yield host


def add_source(host: SimHost, version: str, flavour: str = "open") -> None:
    host.write(f"usr/src/nvidia-{version}/dkms.conf", f"LAB_FLAVOUR={flavour}\n")


def status(host: SimHost) -> list[str]:
    return host.run("dkms", "status").stdout.splitlines()


def module(host: SimHost, kernel: str) -> dict[str, object] | None:
    path = host.root / "lib/modules" / kernel / "updates/dkms/nvidia.ko"
    found: dict[str, object] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def test_module_is_built_for_each_kernel_with_headers(host: SimHost) -> None:
    assert host.run("dkms", "add", "-m", "nvidia", "-v", VERSION).returncode == 0
    assert status(host) == [f"nvidia/{VERSION}: added"]

    assert host.run("dkms", "install", f"nvidia/{VERSION}").returncode == 0

    assert status(host) == [f"nvidia/{VERSION}, {RUNNING}, x86_64: installed"]
    assert module(host, RUNNING) == {"version": VERSION, "flavour": "open", "signed_by": "dkms"}
    assert module(host, NEXT) is None
    assert host.run("modprobe", "nvidia").returncode == 0


def test_kernel_without_headers_is_refused_by_build_and_passed_over_by_autoinstall(
    host: SimHost,
) -> None:
    host.run("dkms", "add", f"nvidia/{VERSION}")
    refused = host.run("dkms", "build", "-m", "nvidia", "-v", VERSION, "-k", NEXT)
    assert refused.returncode != 0
    assert f"Your kernel headers for kernel {NEXT} cannot be found" in refused.stderr
    assert host.run("dkms", "autoinstall", "-k", NEXT).returncode == 0
    assert module(host, NEXT) is None

    (host.root / "lib/modules" / NEXT / "build").mkdir()
    assert host.run("dkms", "autoinstall", "-k", NEXT).returncode == 0

    assert status(host) == [f"nvidia/{VERSION}, {NEXT}, x86_64: installed"]


def test_build_that_fails_says_so_and_leaves_the_old_driver(host: SimHost) -> None:
    host.run("dkms", "install", f"nvidia/{VERSION}")
    add_source(host, "590.1.1")
    host.write("usr/src/nvidia-590.1.1/FAILS", "")

    failed = host.run("dkms", "install", "nvidia/590.1.1")

    assert failed.returncode == 10
    assert f"Bad return status for module build on kernel: {RUNNING}" in failed.stderr
    assert module(host, RUNNING) == {"version": VERSION, "flavour": "open", "signed_by": "dkms"}
    assert "nvidia/590.1.1: added" in status(host)


def test_newer_version_takes_the_place_of_the_older_one(host: SimHost) -> None:
    host.run("dkms", "install", f"nvidia/{VERSION}")
    add_source(host, "595.91.07", "proprietary")
    host.run("dkms", "install", "nvidia/595.91.07")

    assert host.run("dkms", "remove", f"nvidia/{VERSION}", "--all").returncode == 0

    assert status(host) == [f"nvidia/595.91.07, {RUNNING}, x86_64: installed"]
    found = module(host, RUNNING)
    assert found and (found["version"], found["flavour"]) == ("595.91.07", "proprietary")


def test_removed_module_is_gone_from_the_disk_and_the_tree(host: SimHost) -> None:
    host.run("dkms", "install", f"nvidia/{VERSION}")

    assert host.run("dkms", "remove", "-m", "nvidia", "-v", VERSION, "--all").returncode == 0

    assert module(host, RUNNING) is None and status(host) == []
    assert host.run("dkms", "remove", f"nvidia/{VERSION}", "--all").returncode == 3


def test_driver_that_finds_no_gpu_loads_all_the_same(host: SimHost) -> None:
    host.write(f"usr/src/nvidia-{VERSION}/NO_DEVICES", "")
    host.run("dkms", "install", f"nvidia/{VERSION}")
    host.install_library(VERSION)

    assert host.run("modprobe", "nvidia").returncode == 0

    assert host.run("nvidia-smi", "-L").returncode == 6
    assert "RmInitAdapter failed!" in host.kernel_log


def test_source_that_is_missing_is_an_error(host: SimHost) -> None:
    assert host.run("dkms", "add", "nvidia/1.2.3").returncode == 2
    assert host.run("dkms", "build").returncode == 1


def test_initramfs_keeps_the_settings_of_its_day(host: SimHost) -> None:
    running, newer = (host.root / f"boot/initrd.img-{kernel}" for kernel in (RUNNING, NEXT))
    host.write("etc/modprobe.d/a.conf", "blacklist nouveau\n")
    assert "nouveau" not in running.read_text()

    host.run("update-initramfs", "-u")
    assert ["nouveau" in image.read_text() for image in (running, newer)] == [False, True]

    host.run("update-initramfs", "-u", "-k", "all")
    assert "nouveau" in running.read_text()


def test_dracut_does_not_overwrite_unless_forced(tmp_path: Path) -> None:
    profile = load_profile("bare-rocky9-2x-rtx3090")
    with SimHost(tmp_path, hardware(profile, "unit01")) as host:
        image = host.root / f"boot/initramfs-{RUNNING}.img"
        host.write("usr/lib/modprobe.d/nvidia.conf", "blacklist nouveau\n")
        assert host.run("dracut").returncode == 1
        assert "nouveau" not in image.read_text()

        assert host.run("dracut", "-f", "--regenerate-all").returncode == 0

        assert "blacklist nouveau" in image.read_text()
        add_source(host, VERSION)
        (host.root / "lib/modules" / RUNNING / "build").mkdir()
        host.run("dkms", "install", f"nvidia/{VERSION}")
        assert (host.root / "lib/modules" / RUNNING / "extra/nvidia.ko").exists()
