"""nv-fabricmanager and nvidia-persistenced of a lab host: each holds one connection to the driver.

Started by systemd with Type=notify they stay in the foreground and say when they are ready;
without, nvidia-persistenced forks as the real one, and the fabric manager stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys

from . import client, paths
from .notify import tell_systemd

POLL_S = 0.5  # how soon a fault ends it
FORKS = ("--daemonize", "-c", "--config")


def fabric_manager(arguments: list[str]) -> int:
    built_for = arguments[arguments.index("--built-for") + 1] if "--built-for" in arguments else ""
    if "-v" in arguments or "--version" in arguments:
        print(f"Fabric Manager version is : {built_for}")
        return 0
    connection, error = _connect(op="fabric", built_for=built_for)
    if connection is None:
        print(f"{error}\nfabric manager exited due to an error", file=sys.stderr)
        return 1
    print("Successfully configured all the available NVSwitches to route GPU NVLink traffic.")
    return _serve("fabric-manager", connection, bool(set(FORKS) & set(arguments)))


def persistenced(arguments: list[str]) -> int:
    """--user is taken over as it stands: the device nodes are open to everybody here."""
    persistence = "--no-persistence-mode" not in arguments
    with contextlib.suppress(client.NotLoadedError):
        client.ask("make-nodes", which=["gpus", "control"])
    request = {"op": "hold-open", "name": "nvidia-persistenced", "persistence": persistence}
    connection, error = _connect(**request)
    if connection is None:
        print(f"nvidia-persistenced failed to initialize. {error}.", file=sys.stderr)
        return 1
    return _serve("persistenced", connection, forks=True)


def _connect(**request: object) -> tuple[socket.socket | None, str]:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(paths.SOCKET)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    except (OSError, ValueError) as error:
        return None, str(error)
    return (None, answer["error"]) if "error" in answer else (connection, "")


def _serve(name: str, connection: socket.socket, forks: bool) -> int:
    """Until the driver hangs up (a failure) or a signal ends it."""
    sys.stdout.flush()
    if "NOTIFY_SOCKET" in os.environ:
        tell_systemd("READY=1")
    elif forks and os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    while not (select.select([connection], [], [], POLL_S)[0] or _has_died(name)):
        pass
    print(f"{name}: fatal error, exiting", file=sys.stderr)
    return 1


def _has_died(name: str) -> bool:
    return os.path.exists(f"{paths.FAULTS}/{name}-dead.json")


def _stop(*_: object) -> None:
    os._exit(0)
