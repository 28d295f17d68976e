"""The old way to give GPUs to a container: a hook that changes it while it starts.

`nvidia-container-runtime-hook` is called by runc; it calls `nvidia-container-cli`, which mounts, makes
nodes and opens the control group's device filter. systemd knows nothing of that: when it is
reloaded, it puts its own filter back, and the container has lost its GPUs, as on real hosts.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys

from . import containers
from .containers_runtime import visible

CLI = "/usr/bin/nvidia-container-cli"
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
QUERY, DETACH, FD_OF_ID = 16, 9, 13
CGROUP_DEVICE = 6
MOST_PROGRAMS = 64


def hook(arguments: list[str]) -> int:
    if arguments[:1] != ["prestart"]:
        return 0
    state = json.load(sys.stdin)
    with open(f"{state['bundle']}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    asked = visible(config)
    if not asked:
        return 0
    root = os.path.join(state["bundle"], config["root"]["path"])
    pid = str(state["pid"])
    command = [CLI, "configure", f"--device={asked}", f"--pid={pid}", root]
    return subprocess.run(["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", *command]).returncode


def cli(arguments: list[str]) -> int:
    if "--version" in arguments or "-V" in arguments:
        print(
            f"cli-version: {containers.toolkit_version()}\nlib-version: {containers.toolkit_version()}"
        )
        return 0
    if arguments[:1] != ["configure"]:
        print("nvidia-container-cli of the lab: --version, configure", file=sys.stderr)
        return 1
    options = dict(a[2:].split("=", 1) for a in arguments if a.startswith("--") and "=" in a)
    try:
        nodes = containers.nodes_of(options["device"]) or []
    except (containers.NoDriverError, KeyError) as error:
        print(f"nvidia-container-cli: initialization error: {error}", file=sys.stderr)
        return 1
    root = arguments[-1]
    for place, source in containers.mounts().items():
        _bind(source, root + place)
    for node in nodes:
        _make_node(node, f"{root}/dev/{node}")
    open_filter(int(options["pid"]))
    return 0


def _bind(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        with open(target, "w", encoding="utf-8"):
            pass
    subprocess.run(["mount", "--bind", source, target], check=True)


def _make_node(node: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*containers.node_numbers(node)))
        os.chmod(path, 0o666)


class _Query(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_uint64),
        ("prog_cnt", ctypes.c_uint32),
        ("unused", ctypes.c_uint32 * 9),
    )


def open_filter(pid: int) -> None:
    """Take every device program off the process's control group: from now on all is allowed."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        group = next(line[3:].strip() for line in file if line.startswith("0::"))
    target = os.open(f"/sys/fs/cgroup{group}", os.O_RDONLY | os.O_DIRECTORY)
    ids = (ctypes.c_uint32 * MOST_PROGRAMS)()
    query = _Query(target, CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), MOST_PROGRAMS)
    _bpf(QUERY, query)
    for number in ids[: query.prog_cnt]:
        program = _bpf(FD_OF_ID, (ctypes.c_uint32 * 3)(number, 0, 0))
        _bpf(DETACH, (ctypes.c_uint32 * 4)(target, program, CGROUP_DEVICE, 0))
        os.close(program)
    os.close(target)


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_uint32] | _Query) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = BPF_SYSCALL[os.uname().machine]
    result = libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return int(result)
