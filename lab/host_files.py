"""What distinguishes one host from the base image: identity, keys, sources, simulated hardware.

Everything is written through the host's mounted root before it boots.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from lab import flavours, keys
from lab.network import MIRROR_ADDRESS, PREFIX_BITS
from lab.profile import UUID_SPACE, Profile, hardware
from lab.state import MIRROR, PACKAGE, HostPaths, LabPaths, read_json, write_json

SIM = PACKAGE / "sim"
KEYRING = "usr/share/keyrings/lab-archive-keyring.gpg"
OPERATOR_UID, OPERATOR_GID = 1000, 37
# The programs of lab/sim are all here in the host; what stands where the real ones would only calls
# them. Tools of the driver come with a driver's packages.
LAB = "usr/lib/lab"
UNIT = "usr/lib/systemd/system/lab-driver.service"
IGNORED = shutil.ignore_patterns("__pycache__")
KERNEL_TOOLS = ("modprobe", "rmmod", "lsmod", "modinfo", "depmod")
UNAME = "usr/bin/uname"
WRAPPER = '#!/bin/sh\nexec /{lab}/{name} "$@"\n'
NETWORK = """[Match]
Name=host0
[Network]
Address={address}/{bits}
LinkLocalAddressing=no
"""
SOURCES = f"""Types: deb
URIs: http://{MIRROR_ADDRESS}/debian
Suites: bookworm
Components: main
Signed-By: /{KEYRING}
"""
# The fault mirror-down leaves this file, so that nginx stays down over a reboot.
NGINX_UNIT = "[Unit]\nConditionPathExists=!/etc/nginx/lab/down\n"
MEMINFO = """MemTotal:       {total:>9} kB
MemFree:        {free:>9} kB
MemAvailable:   {free:>9} kB
Buffers:                0 kB
Cached:                 0 kB
SwapCached:             0 kB
SwapTotal:              0 kB
SwapFree:               0 kB
Shmem:                  0 kB
SReclaimable:           0 kB
"""
CPUINFO = """processor\t: {index}
vendor_id\t: GenuineIntel
model name\t: Lab CPU
cpu cores\t: {count}
siblings\t: {count}
flags\t\t: fpu sse sse2 sse4_1 sse4_2 avx f16c fma avx2

"""


def write_hardware(host: HostPaths, name: str, profile: Profile) -> None:
    """The shared state of the simulation, and what the kernel shows before a driver is loaded."""
    found = hardware(profile, name)
    for part in ("faults", "pci", "proc-driver", "sys-module", "firmware"):
        (host.hardware / part).mkdir(parents=True, exist_ok=True)
    for module in Path("/sys/module").iterdir():
        (host.hardware / "sys-module" / module.name).mkdir(exist_ok=True)
    write_json(host.hardware / "hardware.json", found)
    total_kib = profile.ram_gib * 1024**2
    meminfo = MEMINFO.format(total=total_kib, free=total_kib * 97 // 100)
    (host.hardware / "meminfo").write_text(meminfo)
    cpus = (CPUINFO.format(index=n, count=profile.cpus) for n in range(profile.cpus))
    (host.hardware / "cpuinfo").write_text("".join(cpus))
    _simulate("--unloaded", LAB_HW=host.hardware)


def _simulate(task: str, **places: Path) -> None:
    """The simulation knows how cards look on the bus and drivers on the disk; it writes that."""
    command = [sys.executable, "-IS", str(SIM / "lab-driver"), task]
    settings = {name: str(path) for name, path in places.items()}
    subprocess.run(command, env={**os.environ, **settings}, check=True)


def write_identity(paths: LabPaths, root: Path, name: str, address: str) -> None:
    network = NETWORK.format(address=address, bits=PREFIX_BITS)
    _write(root, "etc/systemd/network/10-host0.network", network)
    _write(root, "etc/hostname", f"{name}\n")
    _write(root, "etc/hosts", _hosts(name, address))
    _write(root, "etc/machine-id", f"{uuid.uuid5(UUID_SPACE, name).hex}\n")
    _write(root, "etc/apt/sources.list.d/lab.sources", SOURCES)
    shutil.copyfile(paths.archive_key / "public.gpg", root / KEYRING)
    (root / KEYRING).chmod(0o644)
    _write_ssh(paths, root, name)


def _hosts(name: str, address: str) -> str:
    entries = {"127.0.0.1": "localhost", "::1": "localhost", address: name}
    entries.setdefault(MIRROR_ADDRESS, MIRROR)
    return "".join(f"{number}\t{label}\n" for number, label in entries.items())


def _write_ssh(paths: LabPaths, root: Path, name: str) -> None:
    key = keys.ensure_host_key(paths, name)
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        target = f"etc/ssh/ssh_host_ed25519_key{suffix}"
        _write(root, target, key.with_name(key.name + suffix).read_text(), mode)
    login = keys.ensure_login_key(paths)
    for home, owner in (("root", (0, 0)), ("home/operator", (OPERATOR_UID, OPERATOR_GID))):
        _write(root, f"{home}/.ssh/authorized_keys", login, 0o600)
        (root / home / ".ssh").chmod(0o700)
        for path in (root / home / ".ssh", root / home / ".ssh/authorized_keys"):
            os.chown(path, *owner)


def write_mirror_settings(root: Path) -> None:
    """nginx as the mirror; the settings that faults change are included from the outside."""
    _write(root, "etc/nginx/sites-enabled/default", (PACKAGE / "mirror.nginx").read_text())
    _write(root, "etc/systemd/system/nginx.service.d/lab.conf", NGINX_UNIT)


def install_simulation(host: HostPaths) -> None:
    """The simulated hardware and kernel of a host with GPUs, whether it has a driver or not."""
    found, root = read_json(host.hardware / "hardware.json"), host.root
    flavours.write(root, found["distribution"], found["updates"])
    if not found["gpus"]:
        return
    shutil.copytree(SIM / "labsim", root / LAB / "labsim", ignore=IGNORED)
    for program in (path for path in SIM.iterdir() if path.is_file() and os.access(path, os.X_OK)):
        _install(program, root / LAB / program.name)
    _install(SIM / "lab-driver.service", root / UNIT)
    wants = root / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "lab-driver.service").symlink_to(f"/{UNIT}")
    shutil.copyfile(root / UNAME, root / LAB / "uname.real")
    (root / LAB / "uname.real").chmod(0o755)
    _simulate("--prepare", LAB_HW=host.hardware, LAB_ROOT=root)
    for path in _tool_places(found):
        _write(root, path, WRAPPER.format(lab=LAB, name=Path(path).name), 0o755)


def _tool_places(found: dict[str, Any]) -> list[str]:
    """Where the tools stand that a system has without any driver's packages."""
    places = [*(f"usr/sbin/{name}" for name in KERNEL_TOOLS), "usr/bin/lsmod", UNAME]
    is_rpm = found["distribution"].startswith("rocky")
    places.append("usr/bin/dracut" if is_rpm else "usr/sbin/update-initramfs")
    return places if found["secure_boot"] is None else [*places, "usr/bin/mokutil"]


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644 if source.suffix == ".service" else 0o755)


def _write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # it may be a link that leads out of the tree
    target.write_text(text)
    target.chmod(mode)
