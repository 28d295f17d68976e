"""One process per host that boots it, boots it again when it reboots, and ends when it is off.

Started detached by `machine`; keeps to the standard library, since it lives as long as the host.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab import cgroup, network
from lab.state import HostPaths, read_json

# What systemd-nspawn (with --keep-unit) ends with when the host asked for a reboot.
REBOOT_EXIT_CODE = 133
CABLE_TIMEOUT_S = 5.0


def main(directory: str) -> None:
    host = HostPaths(Path(directory))
    record = read_json(host.record)
    cgroup.enter(record["name"], cgroup.KEEPER)
    while _run_until_off(host, record["name"], record["boot_command"]) == REBOOT_EXIT_CODE:
        print("supervisor: the host reboots", flush=True)


def _run_until_off(host: HostPaths, name: str, command: list[str]) -> int:
    network.drop_cable(name)
    cgroup.fresh_boot(name)
    booted = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        preexec_fn=lambda: cgroup.enter(name, cgroup.BOOT),
    )
    if host.network_cut.exists():
        _unplug_when_there(name, booted)
    return booted.wait()


def _unplug_when_there(name: str, booted: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + CABLE_TIMEOUT_S
    while booted.poll() is None and time.monotonic() < deadline:
        if network.has_cable(name):
            network.unplug(name)
            return
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
