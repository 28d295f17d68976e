"""Modules of a lab host come and go as on a real one: modprobe, rmmod, boot, wrong versions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost, wait_until

ALL = {"nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm"}
KERNEL = os.uname().release


def host_of(folder: Path, profile: str) -> SimHost:
    return SimHost(folder, hardware(load_profile(profile), "unit01"))


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[SimHost]:
    with host_of(tmp_path, "bare-2x-rtx3090") as host:
        yield host


@pytest.fixture
def served(tmp_path: Path) -> Iterator[SimHost]:
    with host_of(tmp_path, "2x-rtx3090") as host:
        yield host


def references(host: SimHost, module: str) -> int:
    return int((host.hw / "sys-module" / module / "refcnt").read_text())


def test_bare_host_has_cards_but_neither_driver_nor_tools(bare: SimHost) -> None:
    assert (bare.hw / "pci/0000:17:00.0/vendor").exists()
    assert not bare.nodes() and not bare.loaded()
    missing = bare.run("modprobe", "nvidia")
    assert missing.returncode == 1
    assert missing.stderr == (
        f"modprobe: FATAL: Module nvidia not found in directory /lib/modules/{KERNEL}\n"
    )
    no_library = bare.run("nvidia-smi")
    assert no_library.returncode == 12
    assert "couldn't find libnvidia-ml.so library" in no_library.stdout
    assert bare.run("modinfo", "nvidia").returncode == 1


def test_fresh_driver_is_not_loaded_until_modprobe(bare: SimHost) -> None:
    bare.install("580.95.05")
    assert bare.run("nvidia-smi").returncode == 9

    assert bare.run("modprobe", "nvidia").returncode == 0

    assert len(bare.query("uuid")) == 2
    assert bare.loaded() == {"nvidia"}
    assert {"nvidia0", "nvidia1", "nvidiactl"} == bare.nodes()
    assert (bare.hw / "pci/0000:17:00.0/driver").readlink().name == "nvidia"


def test_uvm_is_loaded_at_boot_only_where_somebody_asks_for_it(bare: SimHost) -> None:
    bare.install("580.95.05")
    bare.reboot()
    assert bare.loaded() == ALL - {"nvidia_uvm"}
    assert "uvm" in bare.hold("ollama", {bare.hardware["gpus"][0]["uuid"]: 1})[1]["error"]

    bare.write("etc/modules-load.d/nvidia.conf", "nvidia\nnvidia_uvm\n")
    bare.reboot()

    assert bare.loaded() == ALL
    assert "nvidia-uvm" in bare.nodes()


def test_blacklisted_driver_waits_for_modprobe(bare: SimHost) -> None:
    bare.install("580.95.05")
    bare.write("etc/modprobe.d/mine.conf", "blacklist nvidia\nblacklist nvidia-drm\n")
    bare.reboot()
    assert not bare.loaded()

    assert bare.run("modprobe", "nvidia").returncode == 0


def test_library_of_another_version_stops_nvidia_smi_until_the_module_is_loaded_anew(
    served: SimHost,
) -> None:
    served.install("580.178.04")
    stopped = served.run("nvidia-smi")
    assert stopped.returncode == 18
    assert "Driver/library version mismatch\nNVML library version: 580.178\n" in stopped.stdout
    assert served.run("modinfo", "-F", "version", "nvidia").stdout == "580.178.04\n"
    loaded = (served.hw / "sys-module/nvidia/version").read_text()
    assert loaded == "580.95.05\n"

    served.run("rmmod", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")
    assert served.run("modprobe", "nvidia").returncode == 0

    assert served.query("driver_version") == [["580.178.04"]] * 2


def test_module_of_another_version_does_not_join_a_loaded_one(served: SimHost) -> None:
    served.run("rmmod", "nvidia_uvm")
    served.install("580.178.04")

    refused = served.run("modprobe", "nvidia-uvm")

    assert (refused.returncode, refused.stderr) == (
        1,
        "modprobe: ERROR: could not insert 'nvidia-uvm': Invalid argument\n",
    )


def test_module_in_use_stays_and_names_its_users(served: SimHost) -> None:
    rmmod = served.run("rmmod", "nvidia")
    assert rmmod.returncode == 1
    assert rmmod.stderr == ("rmmod: ERROR: Module nvidia is in use by: nvidia_modeset nvidia_uvm\n")
    modprobe = served.run("modprobe", "-r", "nvidia")
    assert (modprobe.returncode, modprobe.stderr) == (
        1,
        "modprobe: FATAL: Module nvidia is in use.\n",
    )
    assert served.loaded() == ALL
    assert sorted(path.name for path in (served.hw / "sys-module/nvidia/holders").iterdir()) == [
        "nvidia_modeset",
        "nvidia_uvm",
    ]


def test_process_with_gpu_memory_keeps_the_modules_loaded(served: SimHost) -> None:
    before = references(served, "nvidia")
    process, _ = served.hold("ollama", {served.hardware["gpus"][0]["uuid"]: 100})
    wait_until(lambda: references(served, "nvidia_uvm") == 1)
    assert references(served, "nvidia") == before + 1
    assert served.run("rmmod", "nvidia_uvm").stderr == (
        "rmmod: ERROR: Module nvidia_uvm is in use\n"
    )

    process.kill()

    wait_until(lambda: references(served, "nvidia_uvm") == 0)
    assert served.run("rmmod", "nvidia_uvm").returncode == 0


def test_persistence_daemon_keeps_the_driver_and_its_state(served: SimHost) -> None:
    daemon = served.start("nvidia-persistenced", "--verbose")
    assert daemon.wait(5) == 0  # it has forked
    assert served.query("persistence_mode") == [["Enabled"]] * 2
    refused = served.run("rmmod", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")
    assert refused.stderr == "rmmod: ERROR: Module nvidia is in use\n"

    served.fault("persistenced-dead")

    wait_until(lambda: served.query("persistence_mode") == [["Disabled"]] * 2)
    assert served.run("rmmod", "nvidia").returncode == 0


def test_persistence_mode_is_lost_with_the_module(served: SimHost) -> None:
    served.smi("-pm", "1")
    served.run("rmmod", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")
    served.run("modprobe", "nvidia")

    assert served.query("persistence_mode") == [["Disabled"]] * 2


def test_modprobe_r_takes_along_what_nobody_else_needs(bare: SimHost) -> None:
    bare.install("580.95.05")
    bare.run("modprobe", "nvidia-drm")
    assert bare.loaded() == ALL - {"nvidia_uvm"}
    assert bare.run("modprobe", "-r", "nvidia_drm").returncode == 0
    assert "nvidia_modeset" not in bare.loaded()

    assert bare.run("modprobe", "-r", "nvidia").returncode == 0

    assert not bare.loaded() and not bare.nodes()
    assert not (bare.hw / "pci/0000:17:00.0/driver").is_symlink()
    assert bare.run("nvidia-smi").returncode == 9


def test_nvidia_modprobe_loads_what_its_nodes_need(bare: SimHost) -> None:
    bare.install("580.95.05")

    assert bare.run("nvidia-modprobe", "-u", "-c=0").returncode == 0

    assert bare.loaded() == {"nvidia", "nvidia_uvm"}
    assert {"nvidia0", "nvidia-uvm"} <= bare.nodes()


def test_lsmod_and_modinfo_tell_what_is_loaded_and_what_is_on_the_disk(served: SimHost) -> None:
    lines = [line.split() for line in served.run("lsmod").stdout.splitlines()[1:]]
    assert {line[0] for line in lines} == ALL
    assert lines[0][2:] == ["2", "nvidia_modeset,nvidia_uvm"]

    whole = served.run("modinfo", "nvidia-uvm").stdout
    assert f"filename:       /lib/modules/{KERNEL}/" in whole
    assert served.run("modinfo", "-k", "5.0", "-F", "version", "nvidia").returncode == 1


def test_driver_of_another_kernel_does_not_count(bare: SimHost) -> None:
    bare.install("580.95.05")
    modules = bare.root / "lib/modules"
    (modules / KERNEL).rename(modules / "99.0.0-1-amd64")
    bare.reboot()

    assert not bare.loaded()
    version = bare.run("modinfo", "-k", "99.0.0-1-amd64", "-F", "version", "nvidia")
    assert version.stdout == "580.95.05\n"


def test_newer_kernel_without_a_module_takes_the_gpus_away_at_the_next_boot(tmp_path: Path) -> None:
    with host_of(tmp_path, "two-kernels-2x-rtx3090") as host:
        host.install("580.95.05")
        host.run("modprobe", "nvidia")
        assert len(host.query("uuid")) == 2
        assert (host.hw / "running-kernel").read_text() == f"{KERNEL}\n"

        host.reboot()

        assert (host.hw / "running-kernel").read_text() == "6.99.0-1-amd64\n"
        assert host.run("nvidia-smi").returncode == 9
        assert "directory /lib/modules/6.99.0-1-amd64\n" in host.run("modprobe", "nvidia").stderr
        assert host.run("modinfo", "nvidia").returncode == 1


def test_module_file_that_is_none_is_refused(bare: SimHost) -> None:
    bare.install("580.95.05")
    bare.write(f"lib/modules/{KERNEL}/updates/dkms/nvidia.ko", "half a fi")

    assert "Exec format error" in bare.run("modprobe", "nvidia").stderr


def test_nouveau_keeps_the_card_until_blacklist_initramfs_and_reboot(tmp_path: Path) -> None:
    with host_of(tmp_path, "nouveau-1x-rtx3060") as host:
        host.install("580.95.05")
        assert host.loaded() == {"nouveau"}
        assert (host.hw / "pci/0000:17:00.0/driver").readlink().name == "nouveau"
        assert host.run("modprobe", "nvidia").stderr == (
            "modprobe: ERROR: could not insert 'nvidia': No such device\n"
        )
        assert "Module nouveau is in use" in host.run("modprobe", "-r", "nouveau").stderr

        host.write("etc/modprobe.d/no-nouveau.conf", "blacklist nouveau\n")
        host.reboot()
        assert host.loaded() == {"nouveau"}  # the initramfs does not know yet

        assert host.run("update-initramfs", "-u").returncode == 0
        assert host.loaded() == {"nouveau"}
        host.reboot()
        assert "nvidia" in host.loaded() and "nouveau" not in host.loaded()


def test_driver_of_the_run_file_can_be_uninstalled(served: SimHost) -> None:
    assert (served.root / "usr/bin/nvidia-smi").exists()

    assert served.run("nvidia-uninstall", "--silent").returncode == 0

    assert served.run("nvidia-smi").returncode == 12
    assert "nvidia" in served.loaded()  # until the next boot
    served.reboot()
    assert not served.loaded()
