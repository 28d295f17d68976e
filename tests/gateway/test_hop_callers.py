"""Who gets to a host's slices: a real nginx with a hop's configuration, asked with real certificates."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ollama_fleet.authority.folder import Authority, made_authority
from ollama_fleet.authority.leaf import Leaf, client_leaf, host_leaf, sign
from ollama_fleet.gateway.hop import OFFERED, configuration
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.templating import TEMPLATES
from tests.unit.authorities import machines

LONG = "g" + 80 * "w"


def certificate(folder: Path, authority: Authority, leaf: Leaf, name: str) -> None:
    """name.pem and name.key in `folder`."""
    key = folder / f"{name}.key"
    command = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-subj", "/CN=x"]
    request = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (folder / f"{name}.pem").write_text(sign(authority, request, leaf, datetime.now(UTC)))


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder with certificates, and the port of a host that has gateways gw1 and one with a long name."""
    folder = tmp_path_factory.mktemp("hop")
    authority = made_authority(folder / "prod.ca")
    data = machines(folder, gateways={"gw1": {"address": "10.0.0.5"}, LONG: {}})
    plan: HostPlan = data["one"]["plan"]
    assert plan.hop
    caller = client_leaf(data["gw1"]["gateway_plan"])
    certificate(folder, authority, host_leaf(plan.hop), "server")
    certificate(folder, authority, caller, "gateway")
    certificate(folder, authority, replace(caller, name=LONG), "long")
    certificate(folder, authority, replace(caller, name="gw9"), "former")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = configuration(plan, Machine(has_ipv6=False))
    text = text.replace("/etc/ollama/hop/tls/gateways-ca.pem", str(folder / "prod.ca/ca.pem"))
    text = text.replace("/etc/ollama/hop/tls", str(folder)).replace("/run/ollama-hop", str(folder))
    text = text.replace(f"listen {plan.hop.listen_port} ssl", f"listen 127.0.0.1:{port} ssl")
    (folder / "nginx.conf").write_text(text)
    words = [NGINX, "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(words, stderr=(folder / "log").open("w"))
    try:
        deadline = time.monotonic() + 10
        while not (folder / "hop.sock").exists():
            assert process.poll() is None and time.monotonic() < deadline, (
                folder / "log"
            ).read_text()
            time.sleep(0.05)
        yield folder, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def status(hop: tuple[Path, int], *options: str) -> str:
    folder, port = hop
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", *options]
    command += ["--cacert", str(folder / "prod.ca/ca.pem"), "--resolve", f"one:{port}:127.0.0.1"]
    return subprocess.run(
        [*command, f"https://one:{port}/api/tags"], capture_output=True, text=True
    ).stdout


def with_certificate(hop: tuple[Path, int], name: str) -> str:
    folder, _ = hop
    return status(hop, "--cert", str(folder / f"{name}.pem"), "--key", str(folder / f"{name}.key"))


# Without the header that says which slice is meant, whoever is let in gets a 421.
@pytest.mark.parametrize(
    ("name", "expected"),
    [("gateway", "421"), ("long", "421"), ("server", "400"), ("former", "403")],
)
def test_a_host_lets_the_gateways_of_its_inventory_in_and_nobody_else(
    hop: tuple[Path, int], name: str, expected: str
) -> None:
    assert with_certificate(hop, name) == expected


def test_whoever_has_no_certificate_is_refused(hop: tuple[Path, int]) -> None:
    assert status(hop) == "400"


def test_a_gateway_on_the_host_itself_needs_none(hop: tuple[Path, int]) -> None:
    folder, _ = hop
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"]
    done = subprocess.run(
        [*command, str(folder / "hop.sock"), "http://localhost/api/tags"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "421"


def asked(hop: tuple[Path, int], path: str, *options: str) -> str:
    """The status for a request to a slice that is away: 425 where it was sent on."""
    folder, _ = hop
    names = re.findall(r"^ +(one\.\S+) \d+;", (folder / "nginx.conf").read_text(), re.M)
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", *options]
    command += ["-H", f"X-Ollama-Slice: {names[0]}", "--unix-socket", str(folder / "hop.sock")]
    return subprocess.run(
        [*command, f"http://localhost{path}"], capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("path", [*OFFERED, "/api/show?x=/api/pull", "/v1/models/a%2Fb:c"])
def test_what_the_gateway_offers_gets_to_slices(hop: tuple[Path, int], path: str) -> None:
    assert asked(hop, path) == "425"


@pytest.mark.parametrize(
    "path",
    [
        *("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/me"),
        *("/api/blobs/sha256:00", "//api/delete", "/api/tags/../delete", "/api/%64elete"),
        *("/api/delete?/api/tags", "/api/tags/", "/api/tags%3f", "/v1/models/", "/debug/pprof"),
    ],
)
def test_whoever_has_taken_a_gateway_over_changes_no_models(
    hop: tuple[Path, int], path: str
) -> None:
    assert {asked(hop, path), asked(hop, path, "-X", "DELETE"), asked(hop, path, "-d", "{}")} == {
        "403"
    }


def test_hops_and_gateways_offer_the_same() -> None:
    text = (TEMPLATES / "gateway/api.js").read_text()
    paths = re.findall(r"^    '(/[^']*)': (?:LOOKS|WORK),$", text, re.M)
    assert {path for path in paths if path != "/v1/models/"} == set(OFFERED)
