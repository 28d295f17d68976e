"""One question to the simulated driver, and its answer; for the tools that end at once.

It takes `_socket`, not `socket`: that alone is a third of nvidia-smi's start-up time.
"""

from __future__ import annotations

import _socket
import json
from typing import Any

from . import paths


class NotLoadedError(Exception):
    """Nobody listens: the driver is not loaded."""


def ask(op: str, **request: Any) -> dict[str, Any]:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(paths.SOCKET)
        sock.send(json.dumps({"op": op, **request}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(_line(sock))
    except (OSError, ValueError) as error:
        raise NotLoadedError(str(error)) from error
    finally:
        sock.close()
    return answer


def _line(sock: _socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        chunk = sock.recv(65536)
        if not chunk:
            raise OSError("the driver hung up")
        received += chunk
    return received
