"""A host for the stand-in: a small driver on a socket, device nodes, a registry, real processes."""

import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lab.models import build_registry
from lab.standin.pack import build_release

GPU_A, GPU_B = (
    "GPU-aaaaaaaa-0000-0000-0000-000000000000",
    "GPU-bbbbbbbb-0000-0000-0000-000000000001",
)
START_TIMEOUT_S = 5.0


def gpu(index: int, uuid: str) -> dict:
    return {
        "index": index,
        "minor": index,
        "uuid": uuid,
        "name": "NVIDIA GeForce RTX 3090",
        "pci_bus_id": f"00000000:{0x17 + index:02X}:00.0",
        "memory_total_mib": 24576,
        "bandwidth_gb_s": 936,
        "compute_cap": "8.6",
        "state": "ok",
    }


class Driver(socketserver.ThreadingUnixStreamServer):
    """Speaks the driver's protocol; memory is held as long as a connection is."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Connection)
        self.gpus = [gpu(0, GPU_A), gpu(1, GPU_B)]
        self.faults: dict[str, dict] = {}
        self.held: dict[object, dict] = {}
        self.refuses_memory = False

    def answer(self, request: dict, connection: "Connection") -> dict:
        match request["op"]:
            case "devices":
                state = {"loaded": True, "version": "580.95.05", "uvm": True, "mismatch": False}
                gpus = [self.with_memory(entry) for entry in self.gpus]
                return {"driver": state, "gpus": gpus, "faults": self.faults}
            case "allocate" if self.refuses_memory:
                return {"error": "out of memory: refused"}
            case "allocate":
                self.held[connection] = {**request, "pid": connection.peer_pid()}
                return {"ok": True}
        return {"processes": self.processes()}

    def processes(self) -> list[dict]:
        return [
            {"pid": entry["pid"], "name": entry["name"], "gpu_uuid": uuid, "used_mib": mib}
            for entry in list(self.held.values())
            for uuid, mib in entry["mib"].items()
        ]

    def used_mib(self, uuid: str) -> int:
        return sum(p["used_mib"] for p in self.processes() if p["gpu_uuid"] == uuid)

    def with_memory(self, entry: dict) -> dict:
        used = self.used_mib(entry["uuid"])
        free = entry["memory_total_mib"] - used
        return {**entry, "memory_used_mib": used, "memory_free_mib": free}


class Connection(socketserver.StreamRequestHandler):
    server: Driver

    def handle(self) -> None:
        try:
            for line in self.rfile:
                answer = self.server.answer(json.loads(line), self)
                self.wfile.write(json.dumps(answer).encode() + b"\n")
        finally:
            self.server.held.pop(self, None)

    def peer_pid(self) -> int:
        packed = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.unpack("3i", packed)[0]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with Driver(tmp_path / "driver.sock") as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """Device nodes that open; removing one is what a closed DevicePolicy does."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"):
        (folder / name).touch()
    return folder


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed release, unpacked as a deploy would do it."""
    folder = tmp_path_factory.mktemp("release")
    archive = build_release(folder, cache=folder / "no-cache")
    target = folder / "prefix"
    target.mkdir()
    subprocess.run(["tar", "-C", target, "-xf", archive], check=True)
    return target


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    build_registry(folder)
    return folder


class RegistryHandler(http.server.BaseHTTPRequestHandler):
    """Static files with Range and, on blobs, the Location header that the client needs."""

    server: "Registry"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.server.root / self.path.lstrip("/")
        byte_range = self.headers.get("Range")
        self.server.seen.append((self.command, self.path, byte_range))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        first = int(byte_range.removeprefix("bytes=").split("-")[0]) if byte_range else 0
        content = content[first:]
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Length", str(len(content)))
        if "/blobs/" in self.path and self.server.sends_location:
            self.send_header("Location", self.path)
        self.end_headers()
        cut = self.server.cut_bytes if byte_range else None
        if self.command == "GET":
            self.wfile.write(content[:cut] if "/blobs/" in self.path else content)
        return None


class Registry(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), RegistryHandler)
        self.root = root
        self.seen: list[tuple[str, str, str | None]] = []
        self.sends_location = True
        self.cut_bytes: int | None = None

    def handle_error(self, *_: object) -> None: ...

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@pytest.fixture
def registry(mirror: Path) -> Iterator[Registry]:
    with Registry(mirror) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


class Ollama:
    """A running `ollama serve`."""

    def __init__(self, prefix: Path, environment: dict[str, str], log: Path) -> None:
        self.prefix, self.environment, self.log = prefix, environment, log
        self.home = Path(environment["HOME"])
        self.models = Path(environment["OLLAMA_MODELS"])
        self.url = f"http://{environment['OLLAMA_HOST']}"
        self.http = httpx.Client(base_url=self.url, timeout=20)
        with log.open("wb") as output:
            command = [prefix / "bin" / "ollama", "serve"]
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def wait(self) -> "Ollama":
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.http.get("/api/version")
                return self
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"ollama did not start:\n{self.log.read_text()}")

    def end(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(5)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = str(self.prefix / "bin" / "ollama")
        return subprocess.run(
            [program, *arguments], env=self.environment, capture_output=True, text=True, timeout=20
        )

    def generate(self, model: str, prompt: str = "Hello there", **more: object) -> httpx.Response:
        body = {"model": model, "prompt": prompt, "stream": False, **more}
        return self.http.post("/api/generate", json=body)

    def ps(self) -> list[dict]:
        return self.http.get("/api/ps").json()["models"]

    def fill_store(self, mirror: Path, *tags: str) -> None:
        """Put models into the store as a maintenance job would: blobs first, manifest last."""
        library = self.models / "manifests" / "registry.ollama.ai" / "library"
        for tag in tags:
            name, _, version = tag.partition(":")
            source = mirror / "v2" / "library" / name
            for blob in (source / "blobs").iterdir():
                target = self.models / "blobs" / blob.name.replace(":", "-")
                target.exists() or os.link(blob, target)
            (library / name).mkdir(parents=True, exist_ok=True)
            manifest = (source / "manifests" / (version or "latest")).read_bytes()
            (library / name / (version or "latest")).write_bytes(manifest)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def environment(tmp_path: Path, nodes: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "OLLAMA_MODELS": str(tmp_path / "models"),
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_VULKAN": "0",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "LAB_DRIVER_SOCKET": str(tmp_path / "driver.sock"),
        "LAB_DEV": str(nodes),
    }


@pytest.fixture
def launch(prefix: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable]:
    """Start `ollama serve` with more environment; ends with the test."""
    running: list[Ollama] = []

    def start(**more: str) -> Ollama:
        log = tmp_path / f"serve-{len(running)}.log"
        running.append(Ollama(prefix, environment | more, log))
        return running[-1]

    yield start
    for ollama in running:
        ollama.end()


@pytest.fixture
def ollama(launch: Callable, driver: Driver, mirror: Path) -> Ollama:
    """A server with two GPUs and a few models."""
    server = launch().wait()
    server.fill_store(mirror, "qwen3:0.6b", "qwen3:8b", "llama3.1:70b", "nomic-embed-text")
    return server
