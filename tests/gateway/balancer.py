"""Stands where the balancer is: keeps what the gateway's nginx sends it, and answers as slices do."""

import json
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

TOKENS = {"prompt_eval_count": 7, "eval_count": 11}


@dataclass(frozen=True)
class Request:
    """One that came through."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def pool(self) -> str:
        return self.headers["X-Ollama-Pool"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """Pieces are sent one by one, `wait` before each."""

    status: int
    pieces: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()
    wait: Callable[[], object] = lambda: None


def usual(request: Request) -> Reply:
    """What a slice of tests/gateway/front.py says."""
    if request.method == "GET":
        return Reply(200, (json.dumps(_look(request)).encode(),))
    said = {"model": request.json.get("model"), "response": "hello", "done": True, **TOKENS}
    return Reply(200, (json.dumps(said).encode(),))


def _look(request: Request) -> dict[str, Any]:
    pool = request.pool.removeprefix("model.").removeprefix("slice.")
    if request.path.startswith("/api/version"):
        return {"version": "0.32.9" if pool == "qwen3_3a8b" else "0.32.15"}
    names = ["qwen3:8b", "gemma3:4b", "left-behind:1b"]
    more = {"modified_at": "2026-08-19T10:11:12.123456789Z", "size": 5, "digest": "d"}
    return {"models": [{"name": name, "model": name, **more} for name in names]}


class Balancer:
    """A server on a unix socket; `reply` may be replaced, `requests` is what has come."""

    def __init__(self, socket: Path) -> None:
        self.requests: list[Request] = []
        self.reply: Callable[[Request], Reply] = usual
        self.broken: list[Exception] = []
        outer = self

        class Handler(_Handler):
            balancer = outer

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(str(socket), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    balancer: Balancer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, self.headers, body)
        self.balancer.requests.append(request)
        try:
            self._send(request, self.balancer.reply(request))
        except OSError as error:
            self.balancer.broken.append(error)
            self.close_connection = True

    def _send(self, request: Request, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (("X-Served-By", f"gpu01.{request.pool}"), *reply.headers):
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        for piece in reply.pieces:
            reply.wait()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = _any  # noqa: N815
