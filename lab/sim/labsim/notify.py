"""Telling systemd that a service is ready."""

from __future__ import annotations

import os
import socket


def tell_systemd(message: str) -> None:
    """Nothing where systemd did not ask."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        sock.send(message.encode())
