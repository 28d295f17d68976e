"""The SSH connection that pyinfra holds."""

import socket

from pyinfra.api import Host

# A host that does not answer any more is given up after this time. Without it a cut cable leaves the
# run waiting for as long as TCP does, which is hours.
LOST_AFTER_S = 45
KEEPALIVE_S = 15
OPTIONS = (
    # Small SSH packets at once: paramiko leaves Nagle on, about 40 ms per command.
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_S),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", (LOST_AFTER_S - KEEPALIVE_S) // 5),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", LOST_AFTER_S * 1000),
)


def tune_connection(host: Host) -> None:
    """Make a host's connection quick, and let it notice that the host is gone."""
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    # Through a jump host the socket is a channel, which has no such options.
    if transport and isinstance(transport.sock, socket.socket):
        for level, name, value in OPTIONS:
            if hasattr(socket, name):  # the controller may be no Linux
                transport.sock.setsockopt(level, getattr(socket, name), value)
