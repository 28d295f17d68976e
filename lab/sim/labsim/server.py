"""The driver's socket: one JSON object per line, one answer per line, memory until hang-up.

One thread and one selector: requests are short, and the order of allocations is plain.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct

from . import paths
from .driver import Driver
from .notify import tell_systemd
from .requests import Answer, Client

POLL_S = 0.25  # how soon nodes and trees follow a fault when nobody asks
LONGEST_REQUEST_BYTES = 1 << 20


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        pid, uid, _gid = struct.unpack(
            "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        self.client = Client(sock.fileno(), pid, uid)
        self.pending = b""


class Server:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Listens only when nodes and trees are there: whoever can ask finds them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stop)
        self._driver.boot()
        try:
            self._answer_all(_listen())
        finally:
            os.unlink(paths.SOCKET)
            self._driver.shut_down()

    def _answer_all(self, listener: socket.socket) -> None:
        self._selector.register(listener, selectors.EVENT_READ)
        tell_systemd("READY=1")
        while True:
            for key, _ in self._selector.select(POLL_S):
                self._accept(listener) if key.data is None else self._receive(key.data)
            self._driver.refresh()

    def _accept(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.settimeout(2)  # a client that does not read must not hold up the others
        self._selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def _receive(self, connection: Connection) -> None:
        try:
            received = connection.sock.recv(65536)
            *lines, connection.pending = (connection.pending + received).split(b"\n")
            for line in lines:
                self._reply(connection, line)
        except OSError:
            received = b""
        if not received or len(connection.pending) > LONGEST_REQUEST_BYTES:
            self._hang_up(connection)

    def _reply(self, connection: Connection, line: bytes) -> None:
        answer = self._driver.answer(connection.client, _request(line))
        connection.sock.sendall(json.dumps(answer).encode() + b"\n")

    def _hang_up(self, connection: Connection) -> None:
        self._driver.forget(connection.client.key)
        self._selector.unregister(connection.sock)
        connection.sock.close()


def _stop(*_: object) -> None:
    raise SystemExit(0)


def _request(line: bytes) -> Answer:
    try:
        found = json.loads(line)
    except ValueError:
        return {"op": "not JSON"}
    return found if isinstance(found, dict) else {"op": "not an object"}


def _listen() -> socket.socket:
    if os.path.exists(paths.SOCKET):
        os.unlink(paths.SOCKET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(paths.SOCKET)
    os.chmod(paths.SOCKET, 0o666)
    listener.listen(64)
    return listener
