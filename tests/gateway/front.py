"""The gateway's own nginx, as the deploy writes it, on this machine: with folders of a test, and a stand-in
for the balancer behind it."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import requests

from ollama_fleet.gateway import places
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.nginx import nginx_files
from ollama_fleet.keys.rendering import key_files
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.gateway import GatewayPlan, TlsPlan, Upstream
from ollama_fleet.planner.model_pools import Member, ModelPool
from tests.gateway.balancer import Balancer

KEYS = {
    "app": "sk-app-0123456789",
    "narrow": "sk-narrow-0123456789",
    "old": "sk-old-0123456789",
    "slow": "sk-slow-0123456789",
    "one": "sk-one-0123456789",
}
UPSTREAMS = tuple(
    Upstream(host, "chat", f"10.0.0.{n}", 2) for n, host in ((1, "gpu01"), (2, "gpu02"))
)
POOLS = (
    ModelPool("gemma3:4b", (Member("gpu01.chat", 2, 100),)),
    ModelPool("hf.co/Some/Model-GGUF:Q4_K_M", (Member("gpu02.chat", 2, 100),)),
    ModelPool("qwen3:8b", tuple(Member(one.name, 2, 100) for one in UPSTREAMS)),
)
POOLS_BY_MODEL = {pool.model: pool.name for pool in POOLS}


def plan(**changed: Any) -> GatewayPlan:
    """Two hosts, three models, plain HTTP on loopback, keys required."""
    values: dict[str, Any] = {
        **{"name": "gw1", "host": "gw1", "on_host": False, "address": "127.0.0.1"},
        **{"listen": "127.0.0.1", "port": 8080, "names": (), "tls": TlsPlan(source="none")},
        **{"needs_key": True, "max_body_mib": 8, "wait_s": 5, "read_timeout_s": 10},
        **{"slow_start_s": 0, "hop_port": 11443, "upstreams": UPSTREAMS, "pools": POOLS},
    }
    return GatewayPlan(**{**values, **changed})


def keys() -> list[ApiKey]:
    """What nginx is to know of `KEYS`."""
    limits: dict[str, dict[str, Any]] = {
        "narrow": {"models": ("gemma3:4b",)},
        "old": {"expires": date(2024, 2, 29)},
        "slow": {"rate": "2/m"},
        "one": {"concurrent": 1},
    }
    return [
        ApiKey(name, hashlib.sha256(key.encode()).hexdigest(), **limits.get(name, {}))
        for name, key in KEYS.items()
    ]


@dataclass
class Front:
    """nginx that runs. `log` is its access log, line by line."""

    folder: Path
    plan: GatewayPlan
    port: int
    balancer: Balancer
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"http{'s' if self.has_tls else ''}://127.0.0.1:{self.port}"

    @property
    def has_tls(self) -> bool:
        return self.plan.tls.source != "none"

    @property
    def certificate(self) -> Path:
        return self.folder / "etc/tls/server.pem"

    def start(self) -> None:
        self.write()
        # Without an account of its own, workers would be nobody, who may not look into the folder.
        as_who = "user root;" if os.geteuid() == 0 else ""
        configuration = self.folder / "etc/nginx.conf"
        command = ["nginx", "-c", str(configuration), "-g", f"daemon off; {as_who}"]
        path = f"{os.environ['PATH']}:/usr/sbin"
        with (self.folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stderr=stderr, env={**os.environ, "PATH": path}
            )
        until = time.monotonic() + 10
        while not _listens(self.port):
            assert self.process.poll() is None and time.monotonic() < until, self.errors()
            time.sleep(0.02)

    def write(self) -> None:
        """The files of the plan, in the test's folders instead of the machine's."""
        for name in ("etc", "run", "log"):
            (self.folder / name).mkdir(exist_ok=True)
        for file in (*nginx_files(self.plan, Machine()), *key_files(keys(), self.plan)):
            (self.folder / "etc" / Path(file.path).name).write_text(self.at_home(file.text))

        if self.has_tls and not self.certificate.exists():
            self.certificate.parent.mkdir()
            key = str(self.certificate.with_suffix(".key"))
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            command += ["-subj", "/CN=gw1", "-addext", "subjectAltName=IP:127.0.0.1"]
            command += ["-keyout", key, "-out", str(self.certificate)]
            subprocess.run(command, check=True, capture_output=True)

    def reload(self) -> None:
        """As systemd does it; returns once new workers take requests."""
        before = self._workers()
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while not self._workers() - before:
            assert time.monotonic() < until, self.errors()
            time.sleep(0.01)

    def _workers(self) -> set[str]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(path.read_text().split())

    def status(self, path: str = places.STATUS_PATH) -> str:
        """What the loopback listener for the deploy says."""
        request = f"GET {path} HTTP/1.0\r\n\r\n".encode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "run/status.sock"))
            connection.sendall(request)
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        return said.partition(b"\r\n\r\n")[2].decode()

    def at_home(self, text: str) -> str:
        where = {places.GATEWAY_DIR: "etc", places.RUN_DIR: "run", places.LOG_DIR: "log"}
        for theirs, ours in where.items():
            text = text.replace(theirs, str(self.folder / ours))
        text = text.replace("worker_processes auto", "worker_processes 2")
        return text.replace(f":{self.plan.port}", f":{self.port}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = KEYS["app"],
        *,
        stream: bool = False,
        **more: Any,
    ) -> requests.Response:
        """A request of a client. A path is sent as it stands."""
        request = requests.Request(method, self.url, **more).prepare()
        request.url = self.url + path
        if key is not None:
            request.headers.setdefault("Authorization", f"Bearer {key}")
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.certificate)
            return session.send(request, timeout=20, stream=stream)

    def post(self, path: str, body: Any, key: str | None = KEYS["app"]) -> requests.Response:
        """A request with JSON; text and bytes are sent as they stand."""
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        raw = data.encode() if isinstance(data, str) else data
        return self.ask("POST", path, key, data=raw)

    def raw(self, data: bytes) -> bytes:
        """Bytes on a connection, and all that comes back until it is silent or closed."""
        said = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    said += piece
                    connection.settimeout(0.3)
            except (TimeoutError, ConnectionResetError, BrokenPipeError):
                pass
        return said

    def errors(self) -> str:
        """Everything that nginx has said on stderr."""
        return (self.folder / "stderr").read_text()

    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "log/access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def last(self, **about: Any) -> dict[str, Any]:
        """The newest line of the access log, once it is about that."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for line in reversed(self.log()):
                if all(line[name] == value for name, value in about.items()):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line of the access log is about {about}: {self.log()[-3:]}")


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
