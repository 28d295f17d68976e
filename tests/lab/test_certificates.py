"""Certificates on lab hosts: real nginx, HAProxy, curl and openssl."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.lab.certified import GATEWAY, GATEWAY_TLS, HOP_TLS, HOST, NAME, Certified
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, comes

PREPARE = """
apt-get -qq update && apt-get -qq -y --no-install-recommends install {packages} >/dev/null 2>&1
systemctl disable -q --now nginx haproxy 2>/dev/null
groupadd -r ollama-gateway 2>/dev/null; true
"""
OWN_TLS = f"--cert {GATEWAY_TLS}/hop.pem --cacert {GATEWAY_TLS}/hop-ca.pem"


def prepare(fleet: Certified, host: str) -> None:
    fleet.sh(host, PREPARE.format(packages="nginx haproxy curl openssl"))


@pytest.fixture(scope="module")
def machines(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Machines with nginx and HAProxy, which nothing was deployed to."""
    fleet = Certified(tmp_path_factory.mktemp("prepare"), lab)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: bare(lab, name, "no-gpu"), (HOST, GATEWAY)))
        list(pool.map(lambda name: prepare(fleet, name), (HOST, GATEWAY)))
    yield lab
    for name in (HOST, GATEWAY):
        if name in {host.name for host in lab.status()}:
            lab.remove(name)


@pytest.fixture
def fleet(machines: Lab, tmp_path: Path) -> Certified:
    """An inventory on machines without certificates."""
    made = Certified(tmp_path, machines)
    made.gateway()
    made.add(HOST, {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"], "context": 2048})
    for host in (HOST, GATEWAY):
        made.sh(
            host,
            "for unit in hop gateway balancer; do systemctl stop ollama-$unit 2>/dev/null; done; "
            "rm -rf /etc/ollama; true",
        )
    return made


def deploy(fleet: Certified, *options: str) -> dict[str, list[str]]:
    """Deploy; what it changed."""
    run = fleet.deploy(*options)
    assert run.code == 0, run.text
    return run.changed()


def sh(folder: Path, script: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)


@pytest.mark.lab
def test_only_the_fleets_gateways_get_to_a_host(fleet: Certified) -> None:
    assert len(deploy(fleet)) == 2
    fleet.start()
    assert deploy(fleet) == {}

    # The gateway gets there, by curl and by HAProxy.
    assert fleet.hop(GATEWAY, OWN_TLS) == f"CN={GATEWAY} 200 0"
    assert fleet.balanced() == f"CN={GATEWAY} 200"

    # Nobody else does: without a certificate, with the host's own, with one of another authority, with
    # one that has ended.
    trust = f"--cacert {GATEWAY_TLS}/hop-ca.pem"
    assert fleet.hop(GATEWAY, trust).endswith("400 0")
    as_host = f"--cert {HOP_TLS}/server.pem --key {HOP_TLS}/server.key"
    refused = fleet.hop(HOST, f"{as_host} --cacert {HOP_TLS}/gateways-ca.pem")
    assert refused.endswith("400 0")
    fleet.sh(GATEWAY, STRANGER)
    assert fleet.hop(GATEWAY, f"{trust} --cert /tmp/stranger.pem").endswith("400 0")
    ended(fleet)
    assert fleet.hop(GATEWAY, f"{trust} --cert /tmp/ended.pem").endswith("400 0")

    # And the gateway talks to nobody else: another name, another authority, a gateway as a host.
    assert fleet.hop(GATEWAY, OWN_TLS, name="other").endswith("000 60")
    own, fake = f"--cert {GATEWAY_TLS}/hop.pem", "--cacert /tmp/stranger.pem"
    assert fleet.hop(GATEWAY, f"{own} {fake}").endswith("000 60")
    fleet.sh(HOST, f"cp -a {HOP_TLS} /root/tls")
    copied = fleet.sh(GATEWAY, f"base64 -w0 {GATEWAY_TLS}/hop.pem")
    fleet.sh(HOST, f"echo {copied} | base64 -d | tee {HOP_TLS}/server.pem >{HOP_TLS}/server.key")
    fleet.sh(
        HOST,
        "old=$(pgrep -P $(systemctl show -p MainPID --value ollama-hop)); systemctl reload ollama-hop; "
        "for pid in $old; do while [ -d /proc/$pid ]; do sleep 0.1; done; done",
    )
    assert fleet.hop(GATEWAY, OWN_TLS).endswith("000 60")
    assert fleet.balanced().endswith("503") or fleet.balanced().endswith("502")

    # The next deploy puts that right, and the services never stopped.
    before = fleet.processes()
    assert len(deploy(fleet)) == 1
    assert comes(lambda: fleet.balanced() == f"CN={GATEWAY} 200")
    assert fleet.processes() == before


STRANGER = """cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \\
    -subj /CN=cegw -addext extendedKeyUsage=clientAuth -keyout k.pem -out c.pem 2>/dev/null
cat c.pem k.pem >stranger.pem"""


def ended(fleet: Certified) -> None:
    """A gateway's certificate of the fleet's own authority that ended yesterday: /tmp/ended.pem."""
    folder = fleet.folder / "ended"
    folder.mkdir()
    shutil.copytree(fleet.authority, folder / "ca")
    sh(
        folder,
        """
touch index; echo 01 >serial
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cegw -keyout k.pem -out r.pem
cat >conf <<END
[ca]
default_ca = us
[us]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = client
[any]
commonName = supplied
[client]
extendedKeyUsage = clientAuth
END
openssl ca -batch -notext -config conf -cert ca/ca.pem -keyfile ca/ca.key -in r.pem -out c.pem \\
    -startdate 20240101000000Z -enddate 20250101000000Z
cat c.pem k.pem >ended.pem""",
    )
    text = (folder / "ended.pem").read_text()
    fleet.sh(GATEWAY, f"cat >/tmp/ended.pem <<'END'\n{text}END")


@pytest.mark.lab
def test_a_new_name_is_in_force_without_a_restart(fleet: Certified) -> None:
    deploy(fleet)
    fleet.start()
    before, trusted = fleet.processes(), f"--cacert /dev/stdin --resolve {NAME}:443:127.0.0.1"
    bundle = (fleet.authority / "ca.pem").read_text()
    curl = f"curl -s {trusted} https://{NAME}/ <<'END'\n{bundle}END"
    assert fleet.sh(GATEWAY, curl) == "gateway"
    assert f"DNS:{NAME}, IP Address:{fleet.lab.address(GATEWAY)}, DNS:{GATEWAY}" in fleet.shown()

    for client, variable in (("httpx", "SSL_CERT_FILE"), ("requests", "REQUESTS_CA_BUNDLE")):
        assert from_python(fleet, client, {}).startswith("no: ")
        trusting = {variable: str(fleet.authority / "ca.pem")}
        assert from_python(fleet, client, trusting) == "gateway"

    fleet.gateway(names=[NAME, "ai.example.org"])
    assert len(deploy(fleet)) == 1
    assert comes(lambda: "DNS:ai.example.org" in fleet.shown()) and fleet.processes() == before
    assert deploy(fleet) == {}


def from_python(fleet: Certified, client: str, environment: dict[str, str]) -> str:
    """What a Python client gets from the gateway on this machine, which is no host."""
    url = f"https://{fleet.lab.address(GATEWAY)}/"
    program = f"""
import {client}
try:
    print({client}.get("{url}").text)
except Exception as error:
    print("no:", error)"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "NO_PROXY": "*"} | environment,
    )
    return done.stdout.strip()


@pytest.mark.lab
def test_the_users_own_certificate_is_taken_and_its_key_shown_nowhere(fleet: Certified) -> None:
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=ours -keyout own.key "
        f"-out own.pem -addext subjectAltName=DNS:{NAME}"
    )
    fleet.gateway(tls={"source": "files", "certificate": "own.pem", "key": "own.key"})
    sh(fleet.folder, make)
    shown = fleet.deploy("-vv", "--debug", "--diff")
    assert shown.code == 0, shown.text
    secret = (fleet.folder / "own.key").read_text().splitlines()[1]
    assert secret not in shown.text
    as_sent = base64.b64encode((fleet.folder / "own.key").read_bytes()).decode()
    assert as_sent[100:160] not in shown.text
    fleet.start()
    assert "CN = ours" in fleet.shown("-subject")

    before, first = fleet.processes(), fleet.shown("-fingerprint")
    assert deploy(fleet) == {}
    sh(fleet.folder, make)
    assert len(deploy(fleet)) == 1
    assert comes(lambda: fleet.shown("-fingerprint") != first) and fleet.processes() == before
    mode = fleet.sh(GATEWAY, f"stat -c '%a %U %G' {GATEWAY_TLS}/server.key")
    assert mode == "640 root ollama-gateway"

    (fleet.folder / "own.key").unlink()
    refused = fleet.deploy()
    assert refused.code == 2 and "own.key cannot be read" in refused.text


@pytest.mark.lab
def test_requests_go_on_through_a_rotation_host_by_host(fleet: Certified) -> None:
    deploy(fleet)
    fleet.start()
    before, old = fleet.processes(), (fleet.authority / "ca.pem").read_text()
    for _ in range(3):
        sh(fleet.folder, f"{BIN}/fleet ca rotate test.yml")
        for limit in (GATEWAY, HOST):
            assert len(deploy(fleet, "--limit", limit)) == 1
            assert fleet.balanced() == f"CN={GATEWAY} 200"
    assert fleet.processes() == before
    assert deploy(fleet) == {}
    assert old not in fleet.sh(HOST, f"cat {HOP_TLS}/gateways-ca.pem")


@pytest.mark.lab
def test_a_lost_authority_is_said_before_another_is_made(fleet: Certified) -> None:
    deploy(fleet)
    kept = fleet.folder / "kept.ca"
    fleet.authority.rename(kept)
    # Not for a machine without certificates either, as long as others know the lost one.
    fleet.sh(GATEWAY, f"rm -r {GATEWAY_TLS}")
    run = fleet.deploy()
    assert run.code != 0 and "copy that folder from where the fleet was deployed before" in run.text
    assert not fleet.authority.exists()

    # Without its key all goes on until something has to be signed.
    kept.rename(fleet.authority)
    assert len(deploy(fleet)) == 1
    (fleet.authority / "ca.key").rename(kept)
    assert deploy(fleet) == {}
    fleet.gateway(names=[NAME, "ai.example.org"])
    run = fleet.deploy()
    assert run.code != 0 and "ca.key is not here, which has to sign a new one" in run.text
    kept.rename(fleet.authority / "ca.key")
    assert len(deploy(fleet)) == 1


@pytest.mark.lab
def test_a_group_that_is_missing_is_said(fleet: Certified) -> None:
    fleet.sh(HOST, "groupdel ollama-gateway")
    try:
        run = fleet.deploy("--limit", HOST)
        assert run.code != 0 and "there is no group ollama-gateway" in run.text
    finally:
        fleet.sh(HOST, "groupadd -r ollama-gateway")
