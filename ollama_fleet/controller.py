"""This run, and the machine that it runs on: who changes hosts, and whether another such run still lives.

Reads /proc where there is one, and asks `ps` elsewhere. Nothing here is secret: the machine's id is
hashed, and the rest is what a process list shows.
"""

import getpass
import hashlib
import os
import subprocess
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")
# The number of Linux's first process namespace; in others a process of the machine may not be seen.
FIRST_NAMESPACE = 0xEFFFFFFC
UNKNOWN = "-"


@dataclass(frozen=True)
class Run:
    """One run of pyinfra: its id, who started it, and its process, `machine boot pid start`."""

    id: str
    who: str
    controller: str


@lru_cache
def this_run() -> Run:
    """The run that this process is."""
    pid = os.getpid()
    who = f"{_user()}@{os.uname().nodename}, process {pid}"
    began = _began(pid) or UNKNOWN
    return Run(uuid.uuid4().hex, who, f"{_machine()} {_boot()} {pid} {began}")


def is_here(controller: str) -> bool:
    """Whether a run was started on this machine."""
    return controller.split(" ")[0] == _machine()


def has_ended(controller: str) -> bool:
    """Whether a run was started on this machine and is dead for sure; False for those of others."""
    words = controller.split(" ")
    if len(words) != 4 or words[0] != _machine():
        return False
    _, boot, pid, began = words
    if UNKNOWN in (boot, began):
        return False
    return boot != _boot() or not pid.isdigit() or _began(int(pid)) != began


@lru_cache
def _machine() -> str:
    """The same for every run that can see the same processes, and different for all others: two
    containers of one image may have one id and one name."""
    parts = [_text(Path("/etc/machine-id")), os.uname().nodename]
    try:
        namespace = (PROC / "self/ns/pid").stat().st_ino
    except OSError:
        namespace = FIRST_NAMESPACE
    if namespace != FIRST_NAMESPACE:
        parts += [str(namespace), _boot()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _boot() -> str:
    if PROC.is_dir():
        return _text(PROC / "sys/kernel/random/boot_id") or UNKNOWN
    return hashlib.sha256(_said("sysctl", "-n", "kern.boottime").encode()).hexdigest()[:16]


def _began(pid: int) -> str | None:
    """When a process began, in whatever unit; None when it is gone."""
    if not PROC.is_dir():
        return _said("ps", "-o", "lstart=", "-p", str(pid)).replace(" ", "_") or None
    fields = _text(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser().replace("\\", "/")  # DOMAIN\name, which a shell's echo would read
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
