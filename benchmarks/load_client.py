"""One HTTP/1.1 connection of the load generator: asks, and notes when what came back.

Made for many streams with little CPU: an answer is never parsed as it comes, only its arrival is noted
and its end is looked at. So hundreds of clients cost less than what they measure.
"""

import asyncio
import contextlib
import re
import select
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEPT_BYTES = 4096  # of an answer's end: the last record is in it
CONNECT_TIMEOUT_S = 10.0
CHUNK_BORDER = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")
LAST_CHUNK = b"\r\n0\r\n\r\n"
FINAL_RECORDS = (b'"done":true', b"data: [DONE]", b'"object":"chat.completion"', b'"embeddings":')
TOKENS = re.compile(rb'"(?:eval_count|completion_tokens)":(\d+)')


@dataclass(frozen=True)
class Target:
    """Where a gateway or a slice is, and who asks; `ca` is a PEM file, None for plain HTTP.

    `others`: further addresses of the same name, as DNS gives several; the next is tried where one lets
    nobody connect.
    """

    url: str
    key: str | None = None
    ca: str | None = None
    others: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def tls(self) -> ssl.SSLContext | None:
        """A context that trusts the target's authority; None for plain HTTP."""
        if urlsplit(self.url).scheme != "https":
            return None
        return ssl.create_default_context(cafile=self.ca)

    def request(self, path: str, body: bytes, extra: str = "") -> bytes:
        """The bytes of a POST."""
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = (
            f"POST {urlsplit(self.url).path.rstrip('/')}{path} HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Content-Type: application/json\r\n{key}{extra}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Answer:
    """What came back; times are of time.monotonic(). `failure` is empty when it came as a whole."""

    status: int = 0
    head: bytes = b""
    first_byte_s: float | None = None
    end_s: float = 0.0
    longest_gap_s: float = 0.0
    received_bytes: int = 0
    tail: bytes = b""
    failure: str = ""

    def header(self, name: str) -> str:
        """A header's value; empty when it is not there."""
        found = re.search(rb"\r\n" + name.encode() + rb": *([^\r\n]*)", self.head, re.I)
        return found[1].decode() if found else ""

    @property
    def body(self) -> bytes:
        """The end of the body, without the borders of its chunks."""
        return CHUNK_BORDER.sub(b"", self.tail)

    @property
    def tokens(self) -> int:
        """How many tokens the last record says; 0 where it says nothing."""
        found = TOKENS.findall(self.body)
        return int(found[-1]) if found else 0

    @property
    def is_finished(self) -> bool:
        """Whether its last record is there."""
        body = self.body
        return any(final in body for final in FINAL_RECORDS)


@dataclass
class Connection(asyncio.Protocol):
    """A connection; one request at a time."""

    transport: asyncio.Transport | None = None
    answer: Answer | None = None
    waiting: asyncio.Future[None] | None = None
    is_open: bool = False
    _last_s: float = 0.0
    _left: int | None = None  # bytes of the body that are still to come; None when chunked
    _buffer: bytes = field(default=b"", repr=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.is_open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self.answer is not None:
            cut = "cut" if self.answer.first_byte_s else "closed"
            self._end("reset" if error else cut)

    def data_received(self, data: bytes) -> None:
        answer, now = self.answer, time.monotonic()
        if answer is None:  # nobody asked: a 400 or 408 before it is closed
            return
        answer.received_bytes += len(data)
        if answer.first_byte_s is None:
            answer.first_byte_s = now
        else:
            answer.longest_gap_s = max(answer.longest_gap_s, now - self._last_s)
        self._last_s = now
        if answer.status:
            self._body(data)
            return
        self._buffer += data
        head, border, rest = self._buffer.partition(b"\r\n\r\n")
        if border:
            answer.head, answer.status = head, int(head[9:12])
            length = answer.header("content-length")
            self._left = int(length) if length else None
            self._body(b"\r\n" + rest if self._left is None else rest)

    def _body(self, data: bytes) -> None:
        answer = self.answer
        assert answer is not None
        answer.tail = (answer.tail + data)[-KEPT_BYTES:]
        if self._left is None:
            is_over = answer.tail.endswith(LAST_CHUNK)
        else:
            self._left -= len(data)
            is_over = self._left <= 0
        if is_over:
            self._end("")

    def _end(self, failure: str) -> None:
        answer, self.answer, self._buffer = self.answer, None, b""
        assert answer is not None and self.waiting is not None
        answer.end_s, answer.failure = time.monotonic(), failure
        if answer.header("connection").lower() == "close":
            self.close()
        if not self.waiting.done():
            self.waiting.set_result(None)

    @property
    def is_usable(self) -> bool:
        """Whether the other side has not closed it, as far as the kernel knows: what httpx looks at."""
        if not self.is_open or self.transport is None:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it now."""
        self.is_open = False
        if self.transport is not None:
            self.transport.abort()  # close() would first wait for the other side's farewell in TLS

    async def ask(self, request: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for all of its answer, at most so long."""
        assert self.transport is not None
        answer = self.answer = Answer()
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            await asyncio.wait_for(self.waiting, timeout_s)
        except TimeoutError:
            self.answer = None
            answer.end_s, answer.failure = time.monotonic(), "timeout"
            self.close()
        return answer


class Pool:
    """Idle connections to one target; opens what is missing."""

    def __init__(self, target: Target) -> None:
        self.target, self.tls = target, target.tls()
        self.idle: list[Connection] = []

    async def ask(self, request: bytes, timeout_s: float) -> Answer:
        """One request on a kept connection, as the official clients do; closed ones are not tried."""
        connection = await self._connection()
        if connection is None:
            return Answer(end_s=time.monotonic(), failure="unreachable")
        answer = await connection.ask(request, timeout_s)
        if connection.is_open and not answer.failure:
            self.idle.append(connection)
        else:
            connection.close()
        return answer

    async def _connection(self) -> Connection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
        for address in (self.target.host, *self.target.others):
            with contextlib.suppress(OSError, TimeoutError):  # a refused certificate is an OSError
                return await self._opened(address)
        return None

    async def _opened(self, address: str) -> Connection:
        loop, port = asyncio.get_running_loop(), self.target.port
        opening = loop.create_connection(Connection, address, port, ssl=self.tls)
        _, opened = await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        return opened

    def close(self) -> None:
        """Close every idle connection."""
        for connection in self.idle:
            connection.close()
        self.idle = []
