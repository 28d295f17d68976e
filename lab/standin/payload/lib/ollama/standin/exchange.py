"""HTTP transport: one request and its answer, whole or streamed; knows no models.

No byte of a streamed answer, not even its headers, leaves before the first record does.
"""

import json
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

MAX_BODY_BYTES = 64 << 20
CHUNK_BYTES = 1 << 16


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Exchange:
    """A request and the means to answer it."""

    handler: BaseHTTPRequestHandler
    parameter: str = ""  # what stood in the path, such as a digest
    has_begun: bool = False  # whether a streamed answer has left
    status: int = 200
    has_read_body: bool = False

    def raw_body(self) -> Iterator[bytes]:
        """The body in pieces, whichever way its length was given."""
        self.has_read_body = True
        headers, source = self.handler.headers, self.handler.rfile
        if "chunked" in headers.get("Transfer-Encoding", "").lower():
            while size := int(source.readline().split(b";")[0], 16):
                yield source.read(size)
                source.readline()
            source.readline()
            return
        left = int(headers.get("Content-Length") or 0)
        while left > 0 and (piece := source.read(min(left, CHUNK_BYTES))):
            left -= len(piece)
            yield piece

    def json_body(self) -> dict[str, Any]:
        body = b""
        for piece in self.raw_body():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise ApiError(413, "request body too large")
        if not body:
            raise ApiError(400, "missing request body")
        try:
            document = json.loads(body)
        except ValueError as error:
            raise ApiError(400, f"invalid JSON: {error}") from error
        if not isinstance(document, dict):
            raise ApiError(400, "json: cannot unmarshal into Go value of type api request")
        return document

    def client_gone(self) -> bool:
        """Whether the client has closed its side while it waits."""
        connection = self.handler.connection
        try:
            if not select.select([connection], [], [], 0)[0]:
                return False
            return not connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def send(self, status: int, content: bytes, content_type: str) -> None:
        self.status = status
        self._head(status, content_type, ("Content-Length", str(len(content))))
        if self.handler.command != "HEAD":
            self.handler.wfile.write(content)

    def send_json(self, document: object, status: int = 200) -> None:
        content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        self.send(status, content, "application/json; charset=utf-8")

    def send_text(self, text: str, status: int = 200) -> None:
        self.send(status, text.encode(), "text/plain; charset=utf-8")

    def send_empty(self, status: int = 200) -> None:
        self.status = status
        self._head(status, None, ("Content-Length", "0"))

    def write_record(self, document: object) -> None:
        """One line of a newline-delimited JSON answer."""
        line = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        self._write(line + b"\n", "application/x-ndjson")

    def write_event(self, text: str, name: str = "") -> None:
        """One server-sent event, with its name where it has one."""
        head = f"event: {name}\n" if name else ""
        self._write(f"{head}data: {text}\n\n".encode(), "text/event-stream")

    def end_stream(self) -> None:
        if self.has_begun and self._is_chunked:
            self.handler.wfile.write(b"0\r\n\r\n")

    @property
    def _is_chunked(self) -> bool:
        return self.handler.request_version != "HTTP/1.0"

    def _write(self, piece: bytes, content_type: str) -> None:
        if not self.has_begun:
            self.has_begun = True
            framing = ("Transfer-Encoding", "chunked") if self._is_chunked else None
            self.handler.close_connection |= not self._is_chunked
            self._head(200, content_type, framing)
        if self._is_chunked:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        self.handler.wfile.write(piece)

    def _head(self, status: int, content_type: str | None, extra: tuple[str, str] | None) -> None:
        if not self.has_read_body:  # an answer before the whole question would break the connection
            for _ in self.raw_body():
                pass
        self.handler.send_response(status)
        if content_type:
            self.handler.send_header("Content-Type", content_type)
        if extra:
            self.handler.send_header(*extra)
        if self.handler.close_connection:
            self.handler.send_header("Connection", "close")
        self.handler.end_headers()
