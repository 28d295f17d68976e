"""`ollama serve`: the start order of the real server, and one thread per connection.

Listen first, then the store, then the GPUs; only then is anything answered.
"""

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from . import guard, keypair, routes, settings
from .app import VERSION, App
from .devices import Driver, Gpu, usable
from .exchange import Exchange
from .scheduler import Scheduler
from .settings import Settings
from .store import Store

DISCOVERY_S = 0.05
MIB_PER_GIB = 1024
THREAD_STACK_BYTES = 512 << 10


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    app: App
    checks_host: bool

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the standard server; a restart may follow at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        begun_s = time.perf_counter()
        exchange = Exchange(self)
        self._answer(exchange)
        took_ms = (time.perf_counter() - begun_s) * 1000
        client = self.client_address[0]
        print(
            f"[GIN] {time.strftime('%Y/%m/%d - %H:%M:%S')} | {exchange.status} | {took_ms:.3f}ms"
            f' | {client} | {self.command} "{self.path}"',
            flush=True,
        )

    def _answer(self, exchange: Exchange) -> None:
        path = urlsplit(self.path).path
        origin = self.headers.get("Origin", "")
        foreign = self.server.checks_host and not guard.allows_host(self.headers.get("Host", ""))
        if foreign or not guard.allows_origin(origin, self.server.app.settings.origins):
            self.close_connection = True
            exchange.send_empty(403)
            return
        routes.answer(self.server.app, exchange, path)

    def version_string(self) -> str:
        return "ollama"

    def log_request(self, *_: object) -> None:
        """Requests are logged once they are answered."""


def main() -> int:
    try:
        found = settings.of_process()
    except settings.NoHomeError:
        print("panic: $HOME is not defined", file=sys.stderr)
        return 2
    try:
        keypair.ensure(found.home)
        server = _prepare(found)
    except keypair.NoKeyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Error: {_words(found, error)}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(server))
    server.serve_forever()
    return 0


def _prepare(found: Settings) -> Server:
    threading.stack_size(THREAD_STACK_BYTES)
    server = _listen(found)
    store = Store(found.models)
    store.open()
    if not found.no_prune:
        store.prune()
    log("server config", env=f"{sorted(found.shown.items())}")
    log(f"Listening on {found.address} (version {VERSION})")
    driver = Driver(found.driver_socket, found.dev)
    gpus = _discover(found, driver)
    server.app = App(found, store, Scheduler(found, driver, gpus))
    server.checks_host = guard.is_loopback(server.server_name)
    return server


def _listen(found: Settings) -> Server:
    """The listening socket; connections wait in it until discovery is done."""
    host = found.address.host
    Server.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host not in ("", "0.0.0.0", "::"):
        host = str(socket.getaddrinfo(host, None, Server.address_family)[0][4][0])
    return Server((host, found.address.port), Handler)


def _discover(found: Settings, driver: Driver) -> list[Gpu]:
    log("discovering available GPUs...")
    time.sleep(DISCOVERY_S)
    gpus = usable(driver, found.cuda_visible_devices, found.vulkan)
    for number, gpu in enumerate(gpus):
        log(
            "inference compute",
            id=gpu.uuid,
            library=gpu.library,
            compute=gpu.compute_cap if gpu.library == "CUDA" else "0.0",
            name=f"{gpu.library}{number}",
            description=f'"{gpu.name}"',
            pci_id=gpu.pci_bus_id.lower().removeprefix("0000"),
            type="discrete",
            total=f'"{gpu.total_mib / MIB_PER_GIB:.1f} GiB"',
            available=f'"{gpu.free_mib / MIB_PER_GIB:.1f} GiB"',
        )
    if not gpus:
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
        log(
            "inference compute",
            id="cpu",
            library="cpu",
            compute='""',
            name="cpu",
            description="cpu",
            pci_id='""',
            type='""',
            total=f'"{memory_gib:.1f} GiB"',
        )
    return gpus


def _stop(server: Server) -> None:
    """Close at once and end the runners; answers under way are cut, as by the real server."""
    server.socket.close()
    server.app.scheduler.close()
    os._exit(0)


def _words(found: Settings, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if error.filename is None:
        return f"listen tcp {found.address}: bind: {reason}"
    return f"mkdir {error.filename}: {reason}"


def log(message: str, **more: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    fields = "".join(f" {key}={value}" for key, value in more.items())
    print(f'time={stamp} level=INFO msg="{message}"{fields}', file=sys.stderr, flush=True)
