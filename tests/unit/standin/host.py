"""A host for the stand-in: a small driver on a socket, a registry, the real processes."""

import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx

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
        self.fabric: str | None = None

    def answer(self, request: dict, connection: "Connection") -> dict:
        match request["op"]:
            case "devices":
                state = {"loaded": True, "version": "580.95.05", "uvm": True, "mismatch": False}
                state["fabric"] = self.fabric
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
            manifest = (source / "manifests" / (version or "latest")).read_bytes()
            document = json.loads(manifest)
            for layer in (*document["layers"], document["config"]):
                target = self.models / "blobs" / layer["digest"].replace(":", "-")
                target.exists() or os.link(source / "blobs" / layer["digest"], target)
            (library / name).mkdir(parents=True, exist_ok=True)
            (library / name / (version or "latest")).write_bytes(manifest)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def runner_pids(driver: Driver) -> set[int]:
    return {process["pid"] for process in driver.processes()}


def eventually(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until it holds; fails with the last value otherwise."""
    deadline = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        time.sleep(0.02)


def make_nodes(folder: Path) -> Path:
    """Device nodes that open; removing one is what a closed DevicePolicy does."""
    (folder / "dev").mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"):
        (folder / "dev" / name).touch()
    return folder / "dev"


def make_environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "OLLAMA_MODELS": str(folder / "models"),
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_VULKAN": "0",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "LAB_DRIVER_SOCKET": str(folder / "driver.sock"),
        "LAB_DEV": str(folder / "dev"),
    }
