"""A real nginx with the files that gateways get of API keys, before a server that streams; on loopback."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.keys.rendering import key_files
from ollama_fleet.planner.api_key import ApiKey
from tests.unit.gateway_keys import digest, gateway_plan

# The gateway's own njs makes the hash; here the client sends it.
CONFIGURATION = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log info; worker_processes 2;
events {{worker_connections 1024;}}
http {{
    include {folder}/keys.conf;
    map $http_x_hash $fleet_key_hash {{ default $http_x_hash; }}
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location = /who {{ return 200 "$fleet_key_name|$fleet_key_models|$fleet_key_expires"; }}
        location = /retry {{ return 200 "$fleet_key_retry"; }}
        location / {{
            include {folder}/keys-limits.conf;
            proxy_buffering off; proxy_http_version 1.1; proxy_pass http://127.0.0.1:{behind};
        }}
    }}
}}
"""


class Streaming(BaseHTTPRequestHandler):
    """`/0.5` is an answer of half a second, a line each twentieth of one; `/0` is an empty one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
            self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(round(float(self.path[1:]) * 20)):
            self.wfile.write(b"2\r\n.\n\r\n")
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


class Gate:
    """nginx in `folder`; a key itself is its name."""

    def __init__(self, folder: Path, port: int, behind: int) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        values = {"folder": folder, "port": port, "behind": behind}
        (folder / "nginx.conf").write_text(CONFIGURATION.format(**values))
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, keys: Sequence[ApiKey], /, **gateway: str) -> None:
        for file in key_files(keys, gateway_plan(**gateway)):
            (self.folder / Path(file.path).name).write_text(file.text)

    def words(self, *more: str) -> list[str]:
        return [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *more]

    def tested(self) -> str:
        """What nginx says of it; fails where it does not take it."""
        done = subprocess.run(self.words("-t"), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self) -> None:
        self.process = subprocess.Popen(self.words(), stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.get("/who", "")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "error.log").read_text())

    def reload(self) -> None:
        """And wait until the new configuration answers: nginx takes a moment."""
        assert self.process
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not self.workers() - before:
            assert time.monotonic() < deadline, (self.folder / "error.log").read_text()
            time.sleep(0.02)
        while any(map(takes_requests, before)):  # old workers close their sockets
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.1)

    def workers(self) -> set[int]:
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(map(int, children.read_text().split()))

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def get(self, path: str, key: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"X-Hash": digest(key)}, timeout=10)

    def who(self, key: str) -> str:
        return self.get("/who", key).text

    def codes(self, key: str, count: int) -> list[int]:
        """Answers to so many short requests, one after the other."""
        with httpx.Client(headers={"X-Hash": digest(key)}) as client:
            return [client.get(f"{self.url}/0").status_code for _ in range(count)]

    @contextmanager
    def held(self, key: str, seconds: float) -> Iterator[httpx.Response]:
        """A request that streams meanwhile."""
        headers = {"X-Hash": digest(key)}
        with httpx.stream("GET", f"{self.url}/{seconds}", headers=headers, timeout=10) as answer:
            yield answer


def takes_requests(worker: int) -> bool:
    """Whether a worker of nginx is there and not about to end: its title says so."""
    try:
        title = Path(f"/proc/{worker}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(title) and b"shutting down" not in title


@contextmanager
def gate(folder: Path, keys: Sequence[ApiKey]) -> Iterator[Gate]:
    """nginx that knows these keys."""
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Streaming)
    threading.Thread(target=behind.serve_forever, args=(0.02,), daemon=True).start()
    made = Gate(folder, _free_port(), behind.server_address[1])
    made.write(keys)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        behind.shutdown()
        behind.server_close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
