"""The SSH connection that pyinfra holds."""

import socket

from pyinfra.api import Host


def disable_nagle(host: Host) -> None:
    """Send small SSH packets at once; paramiko leaves Nagle on, about 40 ms per command."""
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    # Through a jump host the socket is a channel, which has no such option.
    if transport and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
