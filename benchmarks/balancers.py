"""Real balancers in front of fake slices: ours, and what one reads everywhere; started and ended here."""

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fake_slices import Slice

HAPROXY = """global
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout queue 10m
  option http-no-delay
  http-reuse safe
frontend gateway
  bind 127.0.0.1:{port}
  default_backend pool
backend pool
  balance {balance}
{servers}
"""

NGINX = """daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  upstream pool {{
    zone pool 256k;
    {method}
{servers}
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    keepalive_requests 1000000;
    location / {{
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost;
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_next_upstream off;
      proxy_pass http://pool;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Policy:
    """One way to spread requests. `takes_more`: whether a busy slice is given more, to queue itself.

    The program `gateway` is the whole product: loopback.py starts it.
    """

    name: str
    program: str
    method: str
    takes_more: bool

    def server(self, port: int, of: Slice) -> str:
        """The line of one slice."""
        weight = round(100 * of.speed)
        if self.program == "haproxy":
            limit = "" if self.takes_more else f" maxconn {of.parallel}"
            return f"  server {of.name} 127.0.0.1:{port} weight {weight}{limit}"
        limit = "" if self.takes_more else f" max_conns={of.parallel}"
        return f"    server 127.0.0.1:{port} weight={weight}{limit} max_fails=0;"


OURS = Policy("the gateway: least connections, one queue", "gateway", "", False)
POLICIES = (
    OURS,
    Policy("least connections, slices queue", "nginx", "least_conn;", True),
    Policy("round robin, slices queue (nginx)", "nginx", "", True),
    Policy("round robin, slices queue (HAProxy)", "haproxy", "roundrobin", True),
    Policy("least connections, max_conns (nginx)", "nginx", "least_conn;", False),
)


def config_of(policy: Policy, port: int, slices: Sequence[tuple[int, Slice]], folder: Path) -> str:
    """The configuration of a balancer that listens on `port`; slices with their ports."""
    servers = "\n".join(policy.server(at, of) for at, of in slices)
    if policy.program == "haproxy":
        return HAPROXY.format(port=port, balance=policy.method, servers=servers)
    return NGINX.format(port=port, method=policy.method, servers=servers, folder=folder)


@contextlib.contextmanager
def running(
    policy: Policy, port: int, slices: Sequence[tuple[int, Slice]], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The balancer, until the block ends."""
    folder.mkdir(parents=True)
    config = folder / "balancer.conf"
    config.write_text(config_of(policy, port, slices, folder))
    program = {"haproxy": ["haproxy", "-f"], "nginx": ["nginx", "-p", str(folder), "-c"]}
    process = subprocess.Popen([*program[policy.program], str(config)])
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """Return when somebody listens there; an error when the process ends before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{process.args} does not listen on {port} after {timeout_s:g} s")


def free_ports(number: int) -> list[int]:
    """So many ports of the loopback interface on which nobody listens; none that the kernel gives away."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < number:
            one, port = stack.enter_context(socket.socket()), random.randint(20_000, 32_000)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found
