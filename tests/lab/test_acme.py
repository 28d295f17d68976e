"""A gateway's certificate by ACME: certbot against pebble, a real ACME server, on lab hosts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.certified import GATEWAY_TLS, NAME
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet, comes

PEBBLE, GATEWAY = "cepeb", "ceacme"
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
TRUST = """cat >/usr/local/share/ca-certificates/pebble.crt <<'END'
{pem}
END
update-ca-certificates >/dev/null 2>&1"""

# Nobody has a key; where a deploy brings keys, it writes these itself.
NO_KEYS = """mkdir -p /etc/ollama/gateway && cd /etc/ollama/gateway && {
    echo '# Managed by Ollama Fleet'
    for name in name models expires retry; do
        echo 'map $fleet_key_hash $fleet_key_'$name' { default ""; }'
    done
} >keys.conf && echo '# Managed by Ollama Fleet' >keys-limits.conf"""


@pytest.fixture(scope="module")
def directory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An ACME directory whose names all lead to the gateway, which trusts its HTTPS."""
    fleet = Fleet(tmp_path_factory.mktemp("prepare"), lab)
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
    fleet.sh(GATEWAY, f"{TRUST.format(pem=pem)}\n{NO_KEYS}")
    yield f"https://{address}:14000/dir"
    for name in (PEBBLE, GATEWAY):
        lab.remove(name)


class Gateway(Fleet):
    """A fleet of which only the gateway is deployed: no slice is behind it."""

    def says(self, **settings: Any) -> None:
        """What the inventory says of it."""
        self.hosts = {"nobody": {"address": "10.77.0.254", "slices": []}}
        self.settings = {
            "gateway": {"names": [NAME], **settings},
            "gateways": {GATEWAY: {"address": self.lab.address(GATEWAY)}},
        }

    def changes(self) -> list[str]:
        """What a deploy of the gateway changes."""
        run = self.deploy("--limit", GATEWAY)
        assert run.code == 0, run.text
        return sorted(run.changed())

    def shown(self, what: str) -> str:
        """What openssl says of the certificate that clients get."""
        get = "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null"
        return self.sh(GATEWAY, f"{get} | openssl x509 -noout {what}")

    @property
    def process(self) -> str:
        """The main process of what serves clients."""
        return self.sh(GATEWAY, "systemctl show -p MainPID --value ollama-gateway")


CERTBOT = ["Gateway | Have certbot get its certificate"]


@pytest.mark.lab
def test_certbot_gets_a_certificate_renews_it_and_the_gateway_never_stops(
    lab: Lab, tmp_path: Path, directory: str
) -> None:
    fleet = Gateway(tmp_path, lab)
    acme = {"source": "acme", "directory": directory, "email": "ops@example.org"}

    # An authority that does not answer: the gateway serves, with a certificate that stands in.
    fleet.says(tls={**acme, "directory": directory.replace(":14000", ":14001")})
    early = fleet.deploy("--limit", GATEWAY)
    assert early.code != 0 and f"certbot got no certificate for {NAME}" in early.text, early.text
    assert "Ollama Fleet authority" in fleet.shown("-issuer")

    # Now it does.
    fleet.says(tls=acme)
    before = fleet.process
    assert fleet.changes() == CERTBOT
    assert "Pebble" in fleet.shown("-issuer") and fleet.process == before
    assert fleet.shown("-ext subjectAltName").split()[-1] == f"DNS:{NAME}"
    assert fleet.changes() == []
    port_80 = f"curl -so /dev/null -w '%{{http_code}}' http://{fleet.lab.address(GATEWAY)}/api/tags"
    assert fleet.sh(GATEWAY, port_80) == "404"

    # certbot renews by itself, and the gateway has the new one at once.
    first = fleet.shown("-serial")
    fleet.sh(GATEWAY, "certbot renew --quiet --force-renewal --no-random-sleep-on-renew")
    assert comes(lambda: fleet.shown("-serial") != first) and fleet.process == before
    assert fleet.sh(GATEWAY, f"stat -c '%a %G' {GATEWAY_TLS}/server.key") == "640 ollama-gateway"
    assert fleet.sh(GATEWAY, "systemctl is-active certbot.timer") == "active"
    assert fleet.changes() == []

    # Another name.
    fleet.says(tls=acme, names=[NAME, "ai.example.org"])
    assert CERTBOT[0] in fleet.changes()
    assert "DNS:ai.example.org" in fleet.shown("-ext subjectAltName")
    assert fleet.changes() == [] and fleet.process == before

    # And back to the fleet's own authority: certbot does not come in its way.
    fleet.says()
    assert CERTBOT[0] in fleet.changes()
    assert "Ollama Fleet authority" in fleet.shown("-issuer")
    assert "No certificates found" in fleet.sh(GATEWAY, "certbot certificates 2>&1")
    assert fleet.changes() == []


@pytest.mark.lab
def test_a_bare_machine_has_its_certificate_after_one_deploy(
    lab: Lab, tmp_path: Path, directory: str
) -> None:
    fleet = Gateway(tmp_path, lab)
    pem = fleet.sh(PEBBLE, "cat /root/pebble.pem")
    lab.reset(GATEWAY)
    fleet.sh(GATEWAY, f"{TRUST.format(pem=pem)}\n{NO_KEYS}")
    fleet.says(tls={"source": "acme", "directory": directory})
    assert CERTBOT[0] in fleet.changes()
    assert "Pebble" in fleet.shown("-issuer")
    assert fleet.changes() == []
