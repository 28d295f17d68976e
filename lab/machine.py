"""One lab host as a machine: its disk, its root, its power switch.

Knows nothing of faults or of the lab as a whole; `host_files` says what is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from lab import cgroup, flavours, host_files, leftovers, network
from lab.errors import LabError
from lab.image import Image
from lab.profile import load_profile
from lab.state import (
    MIRROR,
    PACKAGE,
    HostPaths,
    LabPaths,
    mount_points,
    read_json,
    remove_tree,
    write_json,
)

BOOT_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 5.0
# Short: a connection attempt made before the host has its address is repeated late by the kernel.
CONNECT_TIMEOUT_S = 0.2
WAIT_FOR_BOOT = "timeout 30 systemctl is-system-running --wait || true"
HARDWARE_INSIDE = "/var/lib/lab-hw"
# No journal and no background zeroing: the disk is a sparse file and must stay one.
MKFS = (
    *("mkfs.ext4", "-q", "-F", "-m", "0", "-T", "largefile"),
    *("-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"),
)
# Where PID 1 is systemd, it owns the control groups and must be asked for one.
# (Written from systemd's documentation; the machines this was tried on have another PID 1.)
SYSTEMD_SCOPE = ("systemd-run", "--quiet", "--scope", "--collect", "--property=Delegate=yes")


def create(paths: LabPaths, name: str, profile_name: str, image: Image) -> None:
    """A fresh host with an empty disk; the record that makes it count is written last."""
    host, profile = paths.host(name), load_profile(profile_name)
    address = network.assign_address(paths, name)
    lower = image.lower(MIRROR if name == MIRROR else flavours.layer(profile.distribution))
    for directory in (host.disk, host.root, host.nginx, host.truncated):
        directory.mkdir(parents=True)
    _make_disk(host, profile.disk_gib)
    host_files.write_hardware(host, name, profile)
    _mount(host, lower)
    host_files.write_identity(paths, host.root, name, address)
    if name != MIRROR:
        host_files.install_simulation(host)
    else:
        host_files.write_mirror_settings(host.root)
    record = {"name": name, "profile": profile_name, "address": address, "lower": lower}
    write_json(host.record, {**record, "boot_command": _boot_command(paths, host, name)})


def start(host: HostPaths) -> None:
    record = read_json(host.record)
    if str(host.root) not in mount_points():
        _mount(host, record["lower"])
    supervisor = [sys.executable, "-m", "lab.supervisor", str(host.directory)]
    if Path("/run/systemd/system").is_dir():
        unit = (f"--slice={cgroup.SLICE}", f"--unit={cgroup.group(record['name']).name}")
        supervisor = [*SYSTEMD_SCOPE, *unit, *supervisor]
    with host.console.open("ab") as console:
        subprocess.Popen(
            supervisor,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            cwd=PACKAGE.parent,
            start_new_session=True,
        )


def stop(name: str, host: HostPaths) -> None:
    """An orderly shutdown if it is quick, the plug otherwise; nothing stays mounted."""
    if (nspawn := cgroup.nspawn(name)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(nspawn, signal.SIGTERM)
        cgroup.wait_empty(name, SHUTDOWN_TIMEOUT_S)
    unplug_power(name, host)


def unplug_power(name: str, host: HostPaths) -> None:
    cgroup.kill(name)
    cgroup.remove(name)
    network.drop_cable(name)
    leftovers.unmount_below(host.directory)


def destroy(name: str, host: HostPaths) -> None:
    """At once, whatever state it is in, with its disk."""
    unplug_power(name, host)
    remove_tree(host.directory)


def is_running(name: str) -> bool:
    """With the supervisor that a reboot needs."""
    return cgroup.leader(name) is not None and bool(cgroup.processes(name, cgroup.KEEPER))


def wait_ready(host: HostPaths, timeout_s: float = BOOT_TIMEOUT_S) -> None:
    """Until systemd has finished its boot and sshd answers."""
    record = read_json(host.record)
    name, deadline = record["name"], time.monotonic() + timeout_s
    while not (_has_booted(name) and _answers(host, record["address"])):
        if time.monotonic() > deadline:
            tail = "\n".join(host.console.read_text(errors="replace").splitlines()[-10:])
            raise LabError(f"{name} did not come up within {timeout_s:.0f} s; its console:\n{tail}")
        time.sleep(0.05)


def run_inside(name: str, *command: str) -> str:
    """Run a command as root in the host, past its network; the answer is its output."""
    leader = cgroup.leader(name)
    if leader is None:
        raise LabError(f"{name} is off: start it with `lab up {name}`")
    enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid"]
    done = subprocess.run([*enter, "--", *command], capture_output=True, text=True)
    if done.returncode:
        what = done.stderr.strip() or f"exit status {done.returncode}"
        raise LabError(f"{name}: {command[0]} failed in the host: {what}")
    return done.stdout


def _make_disk(host: HostPaths, size_gib: int) -> None:
    with host.disk_image.open("wb") as image:
        image.truncate(size_gib * 1024**3)
    _run(*MKFS, str(host.disk_image))


def _mount(host: HostPaths, lower: list[str]) -> None:
    """The layers below are shared; what the host writes lands on its own disk, which can be full.

    Relative names, because overlay options know no escape for a colon or comma in a path.
    """
    _run("mount", "-o", "loop,noinit_itable", "disk.img", str(host.disk), cwd=host.directory)
    for part in ("upper", "work", "docker"):
        (host.disk / part).mkdir(exist_ok=True)
    options = f"lowerdir={':'.join(lower)},upperdir=disk/upper,workdir=disk/work"
    _run("mount", "-t", "overlay", "overlay", "-o", options, str(host.root), cwd=host.directory)


def _boot_command(paths: LabPaths, host: HostPaths, name: str) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
        *(f"--directory={host.root}", f"--machine={name}"),
        *(f"--network-bridge={network.BRIDGE}", "--console=passive", "--link-journal=no"),
        *("--resolv-conf=off", "--timezone=off", "--rlimit=NOFILE=1024:524288"),
        # bpf: systemd inside can load its device and address filters, and the kernel enforces
        # them; keyring: a container engine inside can start containers.
        "--system-call-filter=bpf @keyring",
        f"--bind={_escaped(host.hardware)}:{HARDWARE_INSIDE}",
        f"--bind-ro={_escaped(host.hardware / 'sys-module')}:/sys/module",
        *(_firmware_bind(host)),
        # Mounts below /proc are made from within, so their sources are paths in the host.
        *(
            f"--bind-ro={HARDWARE_INSIDE}/{source}:/proc/{target}"
            for source, target in (
                ("proc-driver", "driver"),
                ("meminfo", "meminfo"),
                ("cpuinfo", "cpuinfo"),
            )
        ),
        # A container engine needs a file system that is not itself an overlay.
        f"--bind={_escaped(host.disk / 'docker')}:/var/lib/docker",
        *(_mirror_binds(paths, host) if name == MIRROR else []),
    ]


def _firmware_bind(host: HostPaths) -> list[str]:
    """EFI variables, on a machine that has them."""
    if read_json(host.hardware / "hardware.json")["secure_boot"] is None:
        return []
    return [f"--bind-ro={_escaped(host.hardware / 'firmware')}:/sys/firmware"]


def _mirror_binds(paths: LabPaths, host: HostPaths) -> list[str]:
    return [
        f"--bind-ro={_escaped(paths.mirror)}:/srv/mirror",
        f"--bind-ro={_escaped(host.truncated)}:/srv/truncated",
        f"--bind-ro={_escaped(host.nginx)}:/etc/nginx/lab",
    ]


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _answers(host: HostPaths, address: str) -> bool:
    """Whether sshd greets, spoken to politely so that its log stays free of errors.

    A host whose cable is out cannot be asked.
    """
    if host.network_cut.exists():
        return True
    try:
        with socket.create_connection((address, 22), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.settimeout(2)
            connection.sendall(b"SSH-2.0-lab\r\n")
            greeting = connection.recv(4096)
            # Its offer of algorithms may come with the greeting or after it.
            whole = not greeting.endswith(b"\r\n") or bool(connection.recv(4096))
            return whole and greeting.startswith(b"SSH-")
    except OSError:
        return False


def _has_booted(name: str) -> bool:
    """`degraded` counts: a failed unit may be just what a test is about."""
    try:
        state = run_inside(name, "sh", "-c", WAIT_FOR_BOOT)
    except LabError:
        return False
    return state.strip() in ("running", "degraded")


def _run(*command: str, cwd: Path | None = None) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True
    )
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
