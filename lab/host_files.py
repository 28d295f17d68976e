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

from lab import keys
from lab.network import MIRROR_ADDRESS, PREFIX_BITS
from lab.profile import UUID_SPACE, Profile, hardware
from lab.state import MIRROR, PACKAGE, HostPaths, LabPaths, write_json

SIM = PACKAGE / "sim"
KEYRING = "usr/share/keyrings/lab-archive-keyring.gpg"
OPERATOR_UID, OPERATOR_GID = 1000, 37
# Programs of the simulated driver: file or folder in lab/sim → place in the host.
DRIVER_FILES = {
    "lab-driver": "usr/lib/lab/lab-driver",
    "labsim": "usr/lib/lab/labsim",
    "nvidia-smi": "usr/bin/nvidia-smi",
    "nvidia-modprobe": "usr/bin/nvidia-modprobe",
    "modprobe": "usr/sbin/modprobe",
    "lab-driver.service": "usr/lib/systemd/system/lab-driver.service",
}
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
    for part in ("faults", "pci", "proc-driver", "sys-module"):
        (host.hardware / part).mkdir(parents=True, exist_ok=True)
    for module in Path("/sys/module").iterdir():
        (host.hardware / "sys-module" / module.name).mkdir(exist_ok=True)
    write_json(host.hardware / "hardware.json", found)
    total_kib = profile.ram_gib * 1024**2
    meminfo = MEMINFO.format(total=total_kib, free=total_kib * 97 // 100)
    (host.hardware / "meminfo").write_text(meminfo)
    cpus = (CPUINFO.format(index=n, count=profile.cpus) for n in range(profile.cpus))
    (host.hardware / "cpuinfo").write_text("".join(cpus))
    _write_pci(host)


def _write_pci(host: HostPaths) -> None:
    """The driver simulation knows how cards look on the bus; it is asked to write just that."""
    command = [sys.executable, "-IS", str(SIM / "lab-driver"), "--unloaded"]
    subprocess.run(command, env={**os.environ, "LAB_HW": str(host.hardware)}, check=True)


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


def install_driver(root: Path, found: dict[str, Any]) -> None:
    """The simulated driver, where the profile has one installed."""
    if found["driver"] is None:
        return
    for source, target in DRIVER_FILES.items():
        _install(SIM / source, root / target)
    wants = root / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "lab-driver.service").symlink_to("/usr/lib/systemd/system/lab-driver.service")


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    target.unlink(missing_ok=True)  # modprobe is a link to kmod, which must not be overwritten
    shutil.copyfile(source, target)
    target.chmod(0o644 if source.suffix == ".service" else 0o755)


def _write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # it may be a link that leads out of the tree
    target.write_text(text)
    target.chmod(mode)
