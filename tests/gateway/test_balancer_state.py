"""What a reloaded balancer knows from the one before: a real HAProxy takes the servers' state, but never
where they were."""

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.gateway import places
from ollama_fleet.gateway.balancer import balancer_file
from ollama_fleet.gateway.gateway import gateway_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.packages import HAPROXY
from ollama_fleet.planner.gateway import GatewayPlan
from tests.unit.gateways import gateways


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: HAProxy takes no long paths of sockets."""
    with tempfile.TemporaryDirectory(prefix="olf-") as folder:
        yield Path(folder)


def configuration(folder: Path, plan: GatewayPlan) -> Path:
    """Without TLS, in folders of the test."""
    text = re.sub(r" ssl verify required .*?\.pem crt \S+", "", balancer_file(plan).text)
    (folder / "balancer.cfg").write_text(text.replace(places.RUN_DIR, str(folder)))
    return folder / "balancer.cfg"


def told(folder: Path, configured: Path) -> str:
    """The state of the servers in a HAProxy that has just started; it is ended."""
    process = subprocess.Popen([HAPROXY, "-db", "-f", str(configured)], cwd=folder)
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as admin:
                try:
                    admin.connect(str(folder / "admin.sock"))
                    admin.sendall(b"show servers state\n")
                    return b"".join(iter(lambda: admin.recv(65536), b"")).decode()
                except OSError:
                    assert time.monotonic() < deadline and process.poll() is None
                    time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def where(state: str) -> set[tuple[str, str]]:
    """Address and port of the servers."""
    rows = [line.split() for line in state.splitlines() if line.startswith(tuple("0123456789"))]
    return {(row[4], row[18]) for row in rows if len(row) > 20}


def handed_on(folder: Path, configured: Path, state: str) -> None:
    """As the unit does it before a reload."""
    files = {
        file.path: file.text
        for one in gateway_services(gateways()["gw1"], Machine())
        for file in one.others
    }
    (folder / "filter").write_text(files[places.STATE_FILTER])
    (folder / "all").write_text(state)
    command = ["awk", "-f", folder / "filter", configured, folder / "all"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (folder / "servers.state").write_text(done.stdout)


def test_hosts_that_move_are_found_after_a_reload(short_path: Path) -> None:
    plan = gateways()["gw1"]
    before = told(short_path, configuration(short_path, plan))
    assert where(before) == {("10.0.0.11", "11443"), ("10.0.0.12", "11443")}
    moved = [replace(one, address=one.address.replace("10.0.", "10.9.")) for one in plan.upstreams]
    after = configuration(short_path, replace(plan, hop_port=12000, upstreams=tuple(moved)))
    handed_on(short_path, after, before)
    assert where(told(short_path, after)) == {("10.9.0.11", "12000"), ("10.9.0.12", "12000")}


def test_who_is_down_or_drained_stays_so_over_a_reload(short_path: Path) -> None:
    configured = configuration(short_path, gateways()["gw1"])
    down = re.sub(r"(slices \d+ gpu02.chat \S+) 2", r"\1 0", told(short_path, configured))
    handed_on(short_path, configured, down)
    assert re.search(r"slices \d+ gpu02.chat 10.0.0.12 0 ", told(short_path, configured))
