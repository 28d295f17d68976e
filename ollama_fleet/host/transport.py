"""The SSH connection that pyinfra holds."""

import socket

from pyinfra.api import Host

# A host that does not answer any more is given up after this time. Without it a cut cable leaves the
# run waiting for as long as TCP does, which is hours.
LOST_AFTER_S = 45
CONNECT_TIMEOUT_S = 10
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

# What a failed login says, and what to do about it.
TROUBLE = {
    "Authentication error": "see `ssh: {user, key}` in the inventory, or load the key into your agent",
    "host key": "compare it with the machine's own; `ssh: {known_hosts: FILE}` names those you trust",
    "resolve hostname": "is the name right?",
    "No existing session": "it takes connections and says nothing: does sshd hang there?",
    "no login within": "it takes connections and says nothing: does sshd hang there?",
    "Unable to connect to port": "is it up, and does sshd run there, on that port?",
}
UNREACHED = "is it up, and is the address right?"


def tune_connection(host: Host) -> None:
    """Make a host's connection quick, and let it notice that the host is gone."""
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    # Through a jump host the socket is a channel, which has no such options.
    if transport and isinstance(transport.sock, socket.socket):
        for level, name, value in OPTIONS:
            if hasattr(socket, name):  # the controller may be no Linux
                transport.sock.setsockopt(level, getattr(socket, name), value)


def why_unreached(error: str) -> str:
    """A failed login in words, with what to do."""
    advice = next((todo for words, todo in TROUBLE.items() if words in error), UNREACHED)
    said = error.replace("[Errno None] ", "") or "no reason given"
    return f"cannot be reached: {said}; {advice}"
