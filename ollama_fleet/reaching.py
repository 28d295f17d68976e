"""How pyinfra gets to a machine of the inventory, and to root there: its names for it, as host data.

Knows the names of pyinfra's host data, but does not import pyinfra.
"""

from pathlib import Path
from typing import Any

from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.fleet import (
    Fleet,
    GatewayMachineSpec,
    HostSpec,
    MirrorSpec,
    MonitorSpec,
    SshSpec,
)

Machine = HostSpec | MirrorSpec | GatewayMachineSpec | MonitorSpec

# A connection may be refused when many start at once (sshd's MaxStartups 10:30:100): tried again after
# a moment. Few tries, because a dead host costs the whole time limit at each.
CONNECT_RETRIES = 2
RETRY_WITHIN_S = 3


def pyinfra_name(name: str, spec: Machine) -> str:
    """By which pyinfra knows a machine."""
    return "@local" if spec.connection == "local" else name


def reached(name: str, spec: Machine, fleet: Fleet, directory: Path, where: str) -> dict[str, Any]:
    """How pyinfra gets to a machine, and to root there."""
    ssh = _over(fleet.ssh, spec.ssh)
    data = _ssh_data(name, spec, ssh, directory, where) if spec.connection == "ssh" else {}
    return data | ({"_sudo": True} if ssh.sudo else {})


def _over(base: SshSpec, over: SshSpec) -> SshSpec:
    """`base` with everything that `over` sets."""
    return base.model_copy(update=over.model_dump(exclude_none=True))


def _ssh_data(
    name: str, spec: Machine, ssh: SshSpec, directory: Path, where: str
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "ssh_hostname": spec.address or name,
        "ssh_connect_retries": CONNECT_RETRIES,
        "ssh_connect_retry_max_delay": RETRY_WITHIN_S,
    }
    if ssh.user:
        data["ssh_user"] = ssh.user
    if ssh.port:
        data["ssh_port"] = ssh.port
    if ssh.key:
        data["ssh_key"] = _existing(directory, ssh.key, f"{where}.ssh.key")
    if ssh.known_hosts:
        data["ssh_known_hosts_file"] = _existing(
            directory, ssh.known_hosts, f"{where}.ssh.known_hosts"
        )
    return data


def _existing(directory: Path, text: str, where: str) -> str:
    path = (directory / Path(text).expanduser()).resolve()
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError([missing_file(path, where, error)]) from None
    return str(path)


def missing_file(path: Path, where: str, error: OSError) -> Problem:
    """What is wrong with a file that the inventory names and that cannot be read."""
    lab = (
        "; for the lab: run `make demo` or `.venv/bin/lab up` first" if ".lab" in path.parts else ""
    )
    return Problem(str(path), where, f"cannot be read: {error.strerror}{lab}")
