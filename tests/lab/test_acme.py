"""A gateway's certificate by ACME: certbot against pebble, a real ACME server, on lab hosts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.lab.certified import GATEWAY, GATEWAY_TLS, NAME, Certified
from tests.lab.conftest import bare

PEBBLE = "cepeb"
# Every name leads to the gateway there, as DNS would say.
START = """
apt-get -qq update && apt-get -qq -y --no-install-recommends install pebble openssl >/dev/null 2>&1
cd /root && openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=pebble -keyout pebble.key \\
    -out pebble.pem -addext subjectAltName=IP:{address} 2>/dev/null
cat >pebble.json <<'END'
{config}
END
systemd-run -q --unit dns pebble-challtestsrv -defaultIPv4 {gateway} -defaultIPv6 '' \\
    -http01 '' -https01 '' -tlsalpn01 ''
systemd-run -q --unit pebble -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 \\
    pebble -config /root/pebble.json -dnsserver 127.0.0.1:8053
sleep 2; systemctl is-active dns && systemctl is-active pebble
"""
PREPARE = """
apt-get -qq update && apt-get -qq -y --no-install-recommends install nginx haproxy curl >/dev/null 2>&1
systemctl disable -q --now nginx haproxy 2>/dev/null
groupadd -r ollama-gateway 2>/dev/null
cat >/usr/local/share/ca-certificates/pebble.crt && update-ca-certificates >/dev/null 2>&1
"""


@pytest.fixture(scope="module")
def directory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An ACME directory whose names all lead to the gateway, which trusts its HTTPS."""
    fleet = Certified(tmp_path_factory.mktemp("prepare"), lab)
    for name in (PEBBLE, GATEWAY):
        bare(lab, name, "no-gpu")
    config = {
        "pebble": {
            "listenAddress": "0.0.0.0:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/root/pebble.pem",
            "privateKey": "/root/pebble.key",
            "httpPort": 80,
            "tlsPort": 5001,
        }
    }
    address = lab.address(PEBBLE)
    start = START.format(address=address, config=json.dumps(config), gateway=lab.address(GATEWAY))
    fleet.sh(PEBBLE, start)
    pem = fleet.sh(PEBBLE, "cat pebble.pem")
    fleet.sh(GATEWAY, f"{{\n{PREPARE}\n}} <<'END'\n{pem}\nEND")
    yield f"https://{address}:14000/dir"
    for name in (PEBBLE, GATEWAY):
        lab.remove(name)


def only_gateway(fleet: Certified) -> list[str]:
    """Nobody is a host here; what a deploy of the gateway changes."""
    run = fleet.deploy("--limit", GATEWAY)
    assert run.code == 0, run.text
    return sorted(run.changed())


@pytest.mark.lab
def test_certbot_gets_a_certificate_renews_it_and_the_gateway_never_stops(
    lab: Lab, tmp_path: Path, directory: str
) -> None:
    fleet = Certified(tmp_path, lab)
    fleet.hosts["nobody"] = {"address": "10.77.0.254", "slices": []}
    acme = {"source": "acme", "directory": directory, "email": "ops@example.org"}

    # Without the gateway's nginx there is no certificate, but one that stands in, so that it can start.
    fleet.gateway(tls=acme)
    early = fleet.deploy("--limit", GATEWAY)
    assert early.code != 0 and f"certbot got no certificate for {NAME}" in early.text, early.text
    fleet.start_gateway()
    assert "Ollama Fleet authority" in fleet.shown("-issuer")

    # Now there is one.
    before = fleet.gateway_process()
    assert only_gateway(fleet) == ["ACME"]
    assert "Pebble" in fleet.shown("-issuer") and fleet.gateway_process() == before
    assert fleet.shown().split()[-1] == f"DNS:{NAME}"
    assert only_gateway(fleet) == []

    # certbot renews by itself, and the gateway has the new one at once.
    first = fleet.shown("-serial")
    fleet.sh(GATEWAY, "certbot renew --quiet --force-renewal --no-random-sleep-on-renew")
    assert fleet.shown("-serial") != first and fleet.gateway_process() == before
    assert fleet.sh(GATEWAY, f"stat -c '%a %G' {GATEWAY_TLS}/server.key") == "640 ollama-gateway"
    assert fleet.sh(GATEWAY, "systemctl is-active certbot.timer") == "active"
    assert only_gateway(fleet) == []

    # Another name.
    fleet.gateway(tls=acme, names=[NAME, "ai.example.org"])
    assert only_gateway(fleet) == ["ACME"]
    assert "DNS:ai.example.org" in fleet.shown()
    assert only_gateway(fleet) == []

    # And back to the fleet's own authority: certbot does not come in its way.
    fleet.gateway()
    assert len(only_gateway(fleet)) == 2
    assert "Ollama Fleet authority" in fleet.shown("-issuer")
    assert "No certificates found" in fleet.sh(GATEWAY, "certbot certificates 2>&1")
    assert only_gateway(fleet) == [] and fleet.gateway_process() == before
