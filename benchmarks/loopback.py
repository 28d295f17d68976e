"""The whole way of a request on this machine: the product's own configurations, in a folder of their own.

A gateway (nginx and the balancer) on one side, a host's hop on the other, TLS with certificates between
them as between machines, and slices behind. Nothing of the machine's own services is touched: the files
are what a deploy writes, with their paths moved into the folder.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.balancers import free_ports, wait_for_port
from benchmarks.certificates import certificates
from ollama_fleet.gateway.balancer import balancer_file
from ollama_fleet.gateway.hop import configuration
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.nginx import nginx_files
from ollama_fleet.gateway.packages import HAPROXY, MODULE, MODULE_DIRS, NGINX
from ollama_fleet.gateway.places import BALANCER_CONF, GATEWAY_TLS, HOP_CONF, HOP_TLS, NGINX_CONF
from ollama_fleet.keys.making import digest_of, new_key
from ollama_fleet.keys.rendering import key_files
from ollama_fleet.load import validate
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, gateways_of
from ollama_fleet.planner.model_pools import MOST
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.yamlfile import YamlFile

MODEL = "qwen3:0.6b"
HOST, GATEWAY = "gpu01", "gw1"
MOVED = ("/etc/ollama", "/run/ollama-", "/var/lib/ollama", "/var/log/ollama-")
FOLDERS = (
    "/etc/ollama/gateway/tls",
    "/etc/ollama/hop/tls",
    "/run/ollama-gateway",
    "/run/ollama-hop",
    "/run/ollama-health",
    "/run/ollama-drained",
    "/var/lib/ollama/drained",
    "/var/log/ollama-gateway",
)


@dataclass(frozen=True)
class Way:
    """A running gateway: `key` lets in, `ca` signs its certificate; and its processes."""

    url: str
    key: str
    ca: str
    folder: Path
    nginx: subprocess.Popen[bytes]
    balancer: subprocess.Popen[bytes]
    hop: subprocess.Popen[bytes]


def inventory(
    ports: Sequence[int], parallel: int, port: int, hop_port: int, tls: str = "internal"
) -> dict[str, Any]:
    """One host with a slice per port, and one gateway of its own."""
    slices = [
        {
            "name": f"s{number}",
            "gpus": [number],
            "port": at,
            "models": [MODEL],
            "parallel": parallel,
            "context": 512,
        }
        for number, at in enumerate(ports)
    ]
    gpus = [{"model": "H100 80GB", "count": len(ports)}]
    return {
        "version": 1,
        "hosts": {HOST: {"address": "127.0.0.1", "gpus": gpus, "slices": slices}},
        "gateway": {
            "listen": "127.0.0.1",
            "port": port,
            "hop_port": hop_port,
            "tls": {"source": tls},
        },
        "gateways": {GATEWAY: {"address": "127.0.0.1"}},
    }


def plans_of(data: dict[str, Any]) -> tuple[GatewayPlan, HostPlan]:
    """The gateway and the host of such an inventory."""
    fleet = validate(YamlFile("loopback.yml", data))
    hosts = plan_fleet(fleet).required().hosts
    return gateways_of(fleet, hosts)[GATEWAY], hosts[HOST]


def with_speeds(gateway: GatewayPlan, speeds: Sequence[float]) -> GatewayPlan:
    """The same with the weights that slices of these speeds would have."""
    (pool,) = gateway.pools
    members = tuple(
        replace(member, weight=max(1, round(MOST * speed / max(speeds))))
        for member, speed in zip(pool.members, speeds, strict=True)
    )
    return replace(gateway, pools=(replace(pool, members=members),))


@contextlib.contextmanager
def running(
    folder: Path,
    ports: Sequence[int],
    parallel: int,
    speeds: Sequence[float] = (),
    tls: str = "internal",
) -> Iterator[Way]:
    """A gateway in front of slices on these ports, until the block ends."""
    port, hop_port = free_ports(2)
    gateway, host = plans_of(inventory(ports, parallel, port, hop_port, tls))
    if speeds:
        gateway = with_speeds(gateway, speeds)
    for path in FOLDERS:
        (folder / path.lstrip("/")).mkdir(parents=True)
    certificates(
        folder, GATEWAY, HOST, folder / GATEWAY_TLS.lstrip("/"), folder / HOP_TLS.lstrip("/")
    )
    machine = Machine(modules_dir=next(d for d in MODULE_DIRS if Path(d, MODULE).exists()))
    key = new_key()
    known = key_files([ApiKey("bench", digest_of(key))], gateway)
    files = {
        file.path: file.text
        for file in [*nginx_files(gateway, machine), *known, balancer_file(gateway)]
    }
    files[HOP_CONF] = configuration(host, machine)
    moved = {path: _write(folder, path, text) for path, text in files.items()}
    # As root without systemd's User=: a worker of another user could not open the balancer's socket.
    nginx = [NGINX, "-g", "daemon off; user root;", "-c"]
    with (
        started([*nginx, moved[HOP_CONF]], hop_port) as hop,
        started([HAPROXY, "-W", "-f", moved[BALANCER_CONF]], None) as balancer,
        started([*nginx, moved[NGINX_CONF]], port) as front,
    ):
        ca = str(folder / "ca.pem")
        scheme = "http" if tls == "none" else "https"
        yield Way(f"{scheme}://127.0.0.1:{port}", key, ca, folder, front, balancer, hop)


def _write(folder: Path, path: str, text: str) -> str:
    """The file at its moved place, and that place."""
    for prefix in MOVED:
        text = text.replace(prefix, f"{folder}{prefix}")
    place = folder / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return str(place)


@contextlib.contextmanager
def started(command: Sequence[str], port: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A program, until the block ends; it has to listen on the port."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL if port is None else None)
    try:
        if port is not None:
            wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children until now."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    total = 0
    for one in (str(pid), *found):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / ticks
