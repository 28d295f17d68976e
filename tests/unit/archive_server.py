"""A small web server for tests of downloads: serves a folder, with Range, and misbehaves when told to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Server:
    """What it serves and how; `asked` are the Range headers of all requests, None for a whole file."""

    folder: Path
    url: str = ""
    asked: list[str | None] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers end
    codes: list[int] = field(default_factory=list)  # answers of the next requests instead of files
    ranges: bool = True
    length: str | None = None  # said instead of the right one
    delay: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server on a free loopback port until the block ends."""
    server = Server(folder)
    server.delay.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.headers.get("Range"))
            server.delay.wait(10)
            path = folder / self.path.lstrip("/")
            code = server.codes.pop(0) if server.codes else 200 if path.is_file() else 404
            if code != 200:
                self.send_error(code)
                return
            content, start = path.read_bytes(), 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            if asked and server.ranges:
                start = int(asked[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            self.send_header("Content-Length", server.length or str(len(content) - start))
            self.end_headers()
            end = start + server.cut_after.pop(0) if server.cut_after else None
            self.wfile.write(content[start:end])

        def log_message(self, *words: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
