"""Where the lab keeps things, how its files are written and locked; knows nothing of machines."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError, unknown

PACKAGE = Path(__file__).resolve().parent
DEFAULT_ROOT = PACKAGE.parent / ".lab"
CACHE = Path("/var/cache/ollama-fleet-lab")
MIRROR = "mirror"
# The host's side of its network cable is called vb-NAME, and the kernel allows 15 characters.
NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")


@dataclass(frozen=True)
class HostPaths:
    """The files of one host below .lab/hosts/NAME."""

    directory: Path

    @property
    def record(self) -> Path:
        """Written last when a host is made: without it the host is a torso."""
        return self.directory / "machine.json"

    @property
    def disk_image(self) -> Path:
        return self.directory / "disk.img"

    @property
    def disk(self) -> Path:
        return self.directory / "disk"

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def hardware(self) -> Path:
        return self.directory / "hw"

    @property
    def faults(self) -> Path:
        return self.hardware / "faults"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def network_cut(self) -> Path:
        """While this file exists the host's network cable is unplugged, after a reboot too."""
        return self.directory / "network-cut"

    @property
    def nginx(self) -> Path:
        """Settings that the mirror's nginx includes: this is how a mirror fault is switched on."""
        return self.directory / "nginx"

    @property
    def truncated(self) -> Path:
        """Shortened copies that the mirror prefers over the real files."""
        return self.directory / "truncated"


@dataclass(frozen=True)
class LabPaths:
    """The files of one lab (`.lab/` in the repository)."""

    root: Path = DEFAULT_ROOT

    @property
    def hosts(self) -> Path:
        return self.root / "hosts"

    @property
    def ssh_key(self) -> Path:
        return self.root / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.root / "ssh" / "known_hosts"

    @property
    def host_keys(self) -> Path:
        return self.root / "hosts-keys"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    @property
    def mirror(self) -> Path:
        return self.root / "mirror"

    @property
    def archive_key(self) -> Path:
        return self.root / "archive-key"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    def host(self, name: str) -> HostPaths:
        return HostPaths(self.hosts / name)

    def host_names(self) -> list[str]:
        """Every host that has a directory, finished or not; the mirror first."""
        found = [path.name for path in self.hosts.glob("*") if path.is_dir()]
        return sorted(found, key=lambda name: (name != MIRROR, name))

    def existing(self, name: str) -> HostPaths:
        host = self.host(name)
        if not host.record.exists():
            raise unknown("host", name, self.host_names())
        return host


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no host name for the lab: use 1 to 12 of a-z, 0-9 and '-', "
            "starting with a letter"
        )


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Staged beside the target and moved, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.write_text(text)
    staged.replace(path)


def remove_tree(path: Path) -> None:
    """Refuses while something is mounted below: a removal must not reach into a mount."""
    prefix = f"{path}/"
    if any(mount.startswith(prefix) for mount in mount_points()):
        raise OSError(f"something is still mounted below {path}")
    if path.exists():
        shutil.rmtree(path)


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
    target.chmod(0o644)


def link_tree(source: Path, target: Path) -> None:
    """The same files under another path, without their space where the file system allows it."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, place)


def mount_points() -> list[str]:
    """All mount points of this machine, in the order in which they were mounted."""
    fields = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field) for field in fields]


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """One lab command at a time for what the lock file stands for; says so when it has to wait."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another lab command ({lock.stem}) ...", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
