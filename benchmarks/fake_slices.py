"""Slices that cost next to no CPU: they hold a request as long as it says, and answer.

A slice serves `parallel` requests at the same time and lets the others wait in their order, unboundedly,
as Ollama does for a loaded model. `speed` divides the service times.

A request says it anywhere in its body, as gateways pass no headers on: service=0.1 (seconds at speed 1
until the first record), pieces=20 (further records), gap=0.25 (seconds between them).
"""

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field

FIRST = b'{"model":"fake","message":{"role":"assistant","content":"word"},"done":false}\n'
LAST = b'{"model":"fake","message":{"role":"assistant","content":""},"done":true,"eval_count":1}\n'
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"
    b"X-Slice: %s\r\n\r\n"
)
VERSION = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    b'{"version":"0"}'
)
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.I)
NUMBERS = re.compile(rb"(service|pieces|gap)=([0-9.]+)")


@dataclass
class Slice:
    """One slice and its queue."""

    name: str
    parallel: int = 1
    speed: float = 1.0
    running: int = 0
    served: int = 0
    busy_s: float = 0.0
    queue: deque[tuple["Exchange", dict[bytes, float]]] = field(default_factory=deque)

    def take(self, exchange: "Exchange", numbers: dict[bytes, float]) -> None:
        """Serve it now or when its turn comes."""
        if self.running < self.parallel:
            self._begin(exchange, numbers)
        else:
            self.queue.append((exchange, numbers))

    def _begin(self, exchange: "Exchange", numbers: dict[bytes, float]) -> None:
        self.running += 1
        seconds = numbers.get(b"service", 0.0) / self.speed
        self.busy_s += seconds
        loop = asyncio.get_running_loop()
        pieces, gap_s = int(numbers.get(b"pieces", 0)), numbers.get(b"gap", 0.0)
        if seconds:
            loop.call_later(seconds, self._speak, exchange, pieces, gap_s, True)
        else:
            self._speak(exchange, pieces, gap_s, True)

    def _speak(self, exchange: "Exchange", pieces: int, gap_s: float, is_first: bool) -> None:
        if pieces and not exchange.is_gone:
            exchange.send((HEAD % self.name.encode() if is_first else b"") + _chunk(FIRST))
            loop = asyncio.get_running_loop()
            loop.call_later(gap_s, self._speak, exchange, pieces - 1, gap_s, False)
            return
        begun = HEAD % self.name.encode() if is_first else b""
        exchange.send(begun + _chunk(LAST) + b"0\r\n\r\n")
        self.running -= 1
        self.served += 1
        while self.queue and self.running < self.parallel:
            waiting, numbers = self.queue.popleft()
            if not waiting.is_gone:
                self._begin(waiting, numbers)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Exchange(asyncio.Protocol):
    """A connection to a slice; requests follow one another on it."""

    def __init__(self, of: Slice) -> None:
        self.slice, self.buffer, self.is_gone = of, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True

    def send(self, data: bytes) -> None:
        """Write, unless the other side has left."""
        if not self.is_gone:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, border, rest = self.buffer.partition(b"\r\n\r\n")
            if not border:
                return
            stated = LENGTH.search(head)
            length = int(stated[1]) if stated else 0
            if len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            if head.startswith(b"POST"):
                numbers = {key: float(value) for key, value in NUMBERS.findall(body)}
                self.slice.take(self, numbers)
            else:
                self.send(VERSION)


async def serve(slices: list[Slice], ports: list[int]) -> list[asyncio.Server]:
    """Let each slice listen on its port of the loopback interface."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_server(lambda one=one: Exchange(one), "127.0.0.1", port, backlog=4096)
        for one, port in zip(slices, ports, strict=True)
    ]
