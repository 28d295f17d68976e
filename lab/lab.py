"""The lab as a whole, for the command line and for tests: bring up, reset, break, take down."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lab import cgroup, faults, keys, leftovers, machine, mirror, network, prerequisites
from lab.errors import LabError, unknown
from lab.image import Image, ensure_image
from lab.profile import load_profile, load_topology
from lab.state import (
    DEFAULT_ROOT,
    MIRROR,
    HostPaths,
    LabPaths,
    check_name,
    locked,
    read_json,
    remove_tree,
)

MIRROR_PROFILE = "no-gpu"
REBOOT_TIMEOUT_S = 30.0
# A host that was running and does not answer within this time is started again.
REPAIR_AFTER_S = 30.0


@dataclass(frozen=True)
class HostStatus:
    name: str
    profile: str
    address: str
    state: str
    faults: dict[str, faults.Parameters]


class Lab:
    """All lab hosts of one repository. Every method can be called again at any time."""

    def __init__(self, root: Path = DEFAULT_ROOT, console: Console | None = None) -> None:
        self.paths = LabPaths(root.resolve())
        self._console = console or Console(stderr=True, quiet=True)

    def up(self, names: Iterable[str] = (), profile: str | None = None) -> None:
        """Bring up the mirror and these hosts (none named: those of lab.yml)."""
        wanted = self._wanted(list(names), profile)
        image = self._prepare(wanted)
        with locked(self._lock("lab")), ThreadPoolExecutor() as pool:
            columns = max(map(len, wanted)), max(map(len, wanted.values()))
            lines = [pool.submit(self._bring_up, *item, image, columns) for item in wanted.items()]
            for line in lines:
                self._console.print(line.result(), soft_wrap=True)

    def ensure(self, name: str, profile: str) -> None:
        """A running host of this profile: the one that is there, or a new one."""
        self.up([name], profile)

    def reset(self, name: str) -> None:
        """The same name, address and host key on a bare machine without faults."""
        profile = read_json(self.paths.existing(name).record)["profile"]
        image = self._prepare({name: profile})
        with locked(self._lock(name)):
            machine.destroy(name, self.paths.host(name))
            self._create_and_start(name, profile, image)

    def reboot(self, name: str) -> None:
        """As `systemctl reboot` in the host; returns when it is back."""
        host = self.paths.existing(name)
        with locked(self._lock(name)):
            before = cgroup.leader(name)
            machine.run_inside(name, "systemctl", "reboot")
            _wait_until(lambda: cgroup.leader(name) not in (before, None), f"{name} is rebooting")
            machine.wait_ready(host)

    def remove(self, name: str) -> None:
        """Works on a half-made host too."""
        if name not in self.paths.host_names():
            raise unknown("host", name, self.paths.host_names())
        with locked(self._lock(name)):
            machine.destroy(name, self.paths.host(name))

    def fault(self, name: str, fault: str, **parameters: object) -> faults.Parameters:
        faults.find(fault)
        self.paths.existing(name)
        with locked(self._lock(name)):
            return faults.switch_on(self.paths, name, fault, parameters)

    def clear(self, name: str, fault: str | None = None) -> None:
        """Switch one fault off, or all that are on."""
        self.paths.existing(name)
        with locked(self._lock(name)):
            for each in [fault] if fault else faults.active(self.paths, name):
                faults.switch_off(self.paths, name, each)

    def ssh(self, name: str, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a shell command over SSH; look at .returncode, .stdout and .stderr yourself."""
        arguments = [*self.ssh_command(name, user), "--", command]
        return subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def ssh_command(self, name: str, user: str = "root") -> list[str]:
        address = self.address(name)
        options = (
            f"UserKnownHostsFile={self.paths.known_hosts}",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "ConnectTimeout=10",
            "LogLevel=ERROR",
            # The usual one, against computers of another century, takes eight times as long.
            "KexAlgorithms=curve25519-sha256",
        )
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(self.paths.ssh_key), *flags, f"{user}@{address}"]

    def address(self, name: str) -> str:
        found: str = read_json(self.paths.existing(name).record)["address"]
        return found

    def logs(self, name: str) -> str:
        """The host's journal, or what its console showed last when it is off."""
        host = self.paths.existing(name)
        if cgroup.leader(name) is not None:
            return machine.run_inside(name, "journalctl", "--no-pager", "--lines=200")
        return host.console.read_text(errors="replace")

    def status(self) -> list[HostStatus]:
        return [self._status(name) for name in self.paths.host_names()]

    def down(self) -> None:
        """Stop and remove every host; keys, addresses and what the mirror serves stay."""
        prerequisites.require_root()
        leftovers.refuse_foreign(self.paths)
        with locked(self._lock("lab")):
            names = sorted({*self.paths.host_names(), *cgroup.names()})
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._stop, names))
            leftovers.sweep(self.paths.root)
            remove_tree(self.paths.hosts)

    def _wanted(self, names: list[str], profile: str | None) -> dict[str, str]:
        """Host → profile, in the order given, the mirror first."""
        topology = load_topology()
        wanted = {MIRROR: MIRROR_PROFILE}
        for name in names or topology.hosts:
            check_name(name)
            present = read_json(self.paths.host(name).record).get("profile")
            usual = present or topology.hosts.get(name) or topology.default_profile
            if name != MIRROR:
                wanted[name] = profile or usual
        for each in wanted.values():
            load_profile(each)
        return wanted

    def _prepare(self, wanted: dict[str, str]) -> Image:
        """Everything that hosts share; quick when it is all there."""
        prerequisites.require_root()
        prerequisites.install_missing(self._console)
        prerequisites.require_overlay()
        prerequisites.allow_many_hosts(self._console)
        leftovers.refuse_foreign(self.paths)
        image = ensure_image(self._console)
        with locked(self._lock("shared")):
            network.ensure_bridge(self.paths)
            keys.ensure_login_key(self.paths)
            for name in wanted:
                network.assign_address(self.paths, name)
                keys.ensure_host_key(self.paths, name)
            keys.write_known_hosts(self.paths)
            if MIRROR in wanted:
                mirror.ensure_tree(self.paths, image, self._console)
        return image

    def _bring_up(self, name: str, profile: str, image: Image, columns: tuple[int, int]) -> str:
        started, host = time.monotonic(), self.paths.host(name)
        with locked(self._lock(name)):
            what = self._ensure_host(name, profile, host, image)
        took = "" if what == "running" else f" after {time.monotonic() - started:.1f} s"
        first, second = columns
        return f"    {name:<{first}}  {self.address(name):<12} {profile:<{second}}  {what}{took}"

    def _ensure_host(self, name: str, profile: str, host: HostPaths, image: Image) -> str:
        record = read_json(host.record)
        usable = record and all(Path(layer).is_dir() for layer in record["lower"])
        if not usable or record["profile"] != profile:
            machine.destroy(name, host)
            self._create_and_start(name, profile, image)
            return "created" if not record else "made again"
        if machine.is_running(name) and _is_ready(host):
            return "running"
        machine.unplug_power(name, host)
        machine.start(host)
        machine.wait_ready(host)
        return "started"

    def _create_and_start(self, name: str, profile: str, image: Image) -> None:
        machine.create(self.paths, name, profile, image)
        machine.start(self.paths.host(name))
        machine.wait_ready(self.paths.host(name))

    def _stop(self, name: str) -> None:
        with locked(self._lock(name)):
            machine.stop(name, self.paths.host(name))

    def _status(self, name: str) -> HostStatus:
        record = read_json(self.paths.host(name).record)
        state = "unfinished" if not record else "running" if machine.is_running(name) else "off"
        active = faults.active(self.paths, name)
        return HostStatus(
            name, record.get("profile", "?"), record.get("address", "?"), state, active
        )

    def _lock(self, name: str) -> Path:
        return self.paths.locks / name


def _is_ready(host: HostPaths) -> bool:
    try:
        machine.wait_ready(host, timeout_s=REPAIR_AFTER_S)
    except LabError:
        return False
    return True


def _wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + REBOOT_TIMEOUT_S
    while not happened():
        if time.monotonic() > deadline:
            raise LabError(f"waited {REBOOT_TIMEOUT_S:.0f} s: {what}")
        time.sleep(0.02)
