"""A web server of this test's own: files by path, registries that want tokens, and every bad habit."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What a server has. `busy`: how many answers of a path are 503 first; `cut`: paths whose first
    answer ends after so many bytes; `no_ranges`: it always begins at the first byte; `token`: what
    /v2/ wants; `asked`: every request as (path, first byte)."""

    files: dict[str, bytes] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    no_ranges: bool = False
    token: str | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        """Paths that were asked for since the list was emptied."""
        return [path for path, _ in self.asked]

    def add_model(self, name: str, tag: str, *blobs: bytes) -> str:
        """Put a model of these parts there; returns the digest of its manifest."""
        layers = []
        for blob in (b'{"model_format": "gguf"}', *blobs):
            digest = hashlib.sha256(blob).hexdigest()
            self.files[f"/v2/{name}/blobs/sha256:{digest}"] = blob
            layers.append({"digest": f"sha256:{digest}", "size": len(blob)})
        text = json.dumps({"schemaVersion": 2, "config": layers[0], "layers": layers[1:]}).encode()
        self.files[f"/v2/{name}/manifests/{tag}"] = text
        return hashlib.sha256(text).hexdigest()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """The site at `site.url`, for as long as it is needed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            span = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=")
            first = int(span.partition("-")[0])
            site.asked.append((path, first))
            site.logins.append(self.headers.get("Authorization"))
            if path == "/token":
                assert "scope=repository" in query
                return self._send(200, json.dumps({"token": site.token}).encode())
            wanted = f"Bearer {site.token}"
            if site.token and path.startswith("/v2/") and site.logins[-1] != wanted:
                realm = f'Bearer realm="{site.url}/token",service="here"'
                return self._send(401, b"", {"WWW-Authenticate": realm})
            if site.busy.get(path):
                site.busy[path] -= 1
                return self._send(503, b"busy")
            if path not in site.files:
                return self._send(404, b"no such thing")
            return self._file(path, 0 if site.no_ranges else first)

        def _file(self, path: str, first: int) -> None:
            whole = site.files[path]
            if first and first >= len(whole):
                return self._send(416, b"")
            content = whole[first:]
            span = (
                {"Content-Range": f"bytes {first}-{len(whole) - 1}/{len(whole)}"} if first else {}
            )
            self._send(206 if first else 200, content, span, site.cut.pop(path, None))

        def _send(
            self,
            status: int,
            content: bytes,
            headers: dict[str, str] | None = None,
            most: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[:most])
            if most is not None:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that went away are no trouble."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
