"""A model registry and file server that can misbehave, for tests of what downloads from it."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Registry:
    """`files` by path; `faults` maps a path to a list of what goes wrong next, one per GET.

    A fault is a status (int), ("cut", N): N bytes and the connection is closed, ("short", N): N bytes
    are all there is, ("slow", bytes_per_s), ("endless", bytes): so many and no word of how many, or
    bytes that are sent instead. `log` has (method, path,
    range) of each request, `anew` the paths that were asked for past all caches.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[object]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)
    ranges: bool = True
    url: str = ""

    def add_model(self, name: str, tag: str, *layers: bytes) -> str:
        """Publish a model; returns the digest of its manifest."""
        config = json.dumps({"model_format": "gguf", "name": name, "tag": tag}).encode()
        base = f"/v2/library/{name}"
        for blob in (config, *layers):
            self.files[f"{base}/blobs/sha256:{sha256(blob)}"] = blob
        described = [{"digest": f"sha256:{sha256(b)}", "size": len(b)} for b in layers]
        text = json.dumps(
            {
                "schemaVersion": 2,
                "config": {"digest": f"sha256:{sha256(config)}", "size": len(config)},
                "layers": described,
            }
        ).encode()
        self.files[f"{base}/manifests/{tag}"] = text
        return sha256(text)

    def fetched(self, part: str) -> list[tuple[str, str, str | None]]:
        """GETs whose path holds `part`."""
        return [entry for entry in self.log if entry[0] == "GET" and part in entry[1]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """Serve it on a loopback port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, head: bool) -> None:
            registry.log.append((self.command, self.path, self.headers.get("Range")))
            if self.headers.get("Cache-Control") == "no-cache":
                registry.anew.append(self.path)
            waiting = registry.faults.get(self.path) if not head else None
            fault = waiting.pop(0) if waiting else None
            content = registry.files.get(self.path)
            if isinstance(fault, int):
                return self.plain(fault)
            if self.path in registry.redirects:
                self.send_response(307)
                self.send_header("Location", registry.redirects[self.path])
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if isinstance(fault, bytes):
                content = fault
            if content is None:
                return self.plain(404)
            if isinstance(fault, tuple) and fault[0] == "endless":
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                for _ in range(fault[1] // 2**16):
                    self.wfile.write(bytes(2**16))
                return None
            start = self.start(len(content))
            if start is None:
                return self.plain(416)
            rest = content[start:]
            if isinstance(fault, tuple) and fault[0] == "short":
                rest = content[: fault[1]][start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if head:
                return None
            if isinstance(fault, tuple) and fault[0] == "cut":
                self.wfile.write(rest[: fault[1]])
                self.wfile.flush()
                self.close_connection = True
                return self.connection.close()
            if isinstance(fault, tuple) and fault[0] == "slow":
                for at in range(0, len(rest), fault[1] // 10):
                    self.wfile.write(rest[at : at + fault[1] // 10])
                    self.wfile.flush()
                    time.sleep(0.1)
                return None
            self.wfile.write(rest)
            return None

        def start(self, length: int) -> int | None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            if not asked or not registry.ranges:
                return 0
            return int(asked[1]) if int(asked[1]) < length else None

        def plain(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients are cut off on purpose

    server = Server(("127.0.0.1", 0), Handler)
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
