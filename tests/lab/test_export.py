"""A HAProxy of a site takes what `fleet export` writes, and balances hosts over TLS with it.

One lab host is everything: its nginx stands for the nginx of two hosts, on two addresses of its loopback.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, ROOT, Fleet, comes

pytestmark = pytest.mark.lab
NAME, HOST = "expo1", "expo2"
CHAT = [{"name": "chat", "gpus": [0], "models": ["qwen3:8b"], "parallel": 2}]
EMBED = [*CHAT, {"name": "embed", "gpus": [1], "models": ["nomic-embed-text"]}]
INVENTORY: dict[str, Any] = {
    "version": 1,
    "gateway": {"wait_s": 2},
    "gateways": {"lb1": {"address": "10.0.0.5", "manage": False}},
    "hosts": {
        "gpu01": {"address": "127.0.0.11", "slices": EMBED},
        "gpu02": {"address": "127.0.0.12", "slices": CHAT},
    },
}
# Long enough for a few checks of a slice.
NOTICED_S = 6
FILES = "-f /etc/haproxy/haproxy.cfg -f /etc/haproxy/ollama.cfg"
ENGINE = f"systemd-run -q --unit engine haproxy -W {FILES}"
BIG = 50_000

PREPARE = """set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install nginx haproxy curl openssl >/dev/null 2>&1
mkdir -p /srv/tls /run/drained /etc/haproxy/ollama
cd /srv/tls
new() { # new NAME ISSUER
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    printf 'subjectAltName=DNS:%s\\n' "$1" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 \\
        -extfile "$1.ext" -out "$1.pem" 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca 2>/dev/null
new gpu01 ca; new gpu02 ca; new lb1 ca
cat lb1.pem lb1.key >/etc/haproxy/ollama/hop.pem
cp ca.pem /etc/haproxy/ollama/hop-ca.pem
cat lb1.pem lb1.key >/etc/haproxy/llm.pem
rm -f /etc/nginx/sites-enabled/default
for host in 1 2; do cat <<EOF
server {
    listen 127.0.0.1$host:11443 ssl;
    ssl_certificate /srv/tls/gpu0$host.pem; ssl_certificate_key /srv/tls/gpu0$host.key;
    ssl_client_certificate /srv/tls/ca.pem; ssl_verify_client on;
    location = /fleet/health {
        if (-f /run/drained/\\$http_x_ollama_slice) { return 404; }
        return 200;
    }
    location / { return 200 \\$http_x_ollama_slice; }
}
EOF
done >/etc/nginx/conf.d/hops.conf
systemctl restart nginx
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of an export, as a user gets them."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "prod.yml").write_text(yaml.safe_dump(INVENTORY))
    words = [str(BIN / "fleet"), "export", "prod.yml", "--to", "haproxy", "--out", "ollama.cfg"]
    subprocess.run(words, cwd=folder, check=True, stdout=sys.stderr)
    return {name: (folder / name).read_text() for name in ("ollama.cfg", "ollama.map")}


@pytest.fixture(scope="module")
def site(lab: Lab, exported: dict[str, str]) -> Iterator[Lab]:
    """A machine with a HAProxy of its own, which has the exported files."""
    bare(lab, NAME, "no-gpu")
    sh(lab, PREPARE)
    put(lab, "/etc/haproxy/ollama.cfg", exported["ollama.cfg"])
    put(lab, "/etc/haproxy/ollama.map", exported["ollama.map"])
    put(lab, "/etc/haproxy/haproxy.cfg", site_configuration(exported["ollama.cfg"]))
    checked = lab.ssh(NAME, f"haproxy -c {FILES}")
    assert checked.returncode == 0 and "WARNING" not in checked.stderr, checked.stderr
    sh(lab, f"systemctl stop haproxy; {ENGINE}; sleep 2")
    yield lab
    for name in (NAME, HOST):
        if name in {host.name for host in lab.status()}:
            lab.remove(name)


def site_configuration(exported: str, extra: str = "") -> str:
    """What the site has already, with the frontend that the exported file shows in its header."""
    lines = exported[: exported.index("\ndefaults ollama")].splitlines()
    start = next(order for order, line in enumerate(lines) if "frontend llm" in line)
    shown = [line for line in lines[start:] if line.startswith("#     ")]
    frontend = [line[6:] for line in shown if not re.match(r"#     \S+ model\.", line)]
    return "\n".join(["global", *([f"    {extra}"] if extra else []), *frontend, ""])


def sh(lab: Lab, command: str) -> str:
    done = lab.ssh(NAME, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def put(lab: Lab, path: str, text: str) -> None:
    sh(lab, f"cat >{path} <<'END_OF_FILE'\n{text}END_OF_FILE")


def ask(lab: Lab, model: str, path: str = "/api/chat", options: str = "") -> tuple[str, str]:
    """Status and answer of a request through the site's engine."""
    body = json.dumps({"model": model, "messages": []})
    got = sh(
        lab,
        f"curl -sk -w '\\n%{{http_code}}' {options} https://127.0.0.1{path} -d '{body}'",
    )
    answer, _, status = got.rpartition("\n")
    return status, answer


def test_a_model_is_served_by_its_slices_only(site: Lab) -> None:
    assert {ask(site, "qwen3:8b") for _ in range(6)} == {
        ("200", "gpu01.chat"),
        ("200", "gpu02.chat"),
    }
    for name in ("nomic-embed-text", "nomic-embed-text:latest"):
        assert ask(site, name, "/v1/embeddings") == ("200", "gpu01.embed")


def test_a_client_chooses_no_slice_and_changes_no_model(site: Lab) -> None:
    spoofed = ask(site, "nomic-embed-text", options="-H 'X-Ollama-Slice: gpu02.chat'")
    assert spoofed == ("200", "gpu01.embed")
    assert ask(site, "unknown")[0] == "404"
    for path in ("/api/pull", "/api/delete", "/api/../api/pull", "/fleet/health"):
        assert ask(site, "qwen3:8b", path, "--path-as-is")[0] == "404", path


def test_hosts_let_nobody_in_without_a_certificate(site: Lab) -> None:
    status = sh(site, "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.11:11443/; true")
    assert status == "400"


def test_a_drained_slice_gets_nothing_new(site: Lab) -> None:
    sh(site, f"touch /run/drained/gpu01.chat; sleep {NOTICED_S}")
    assert {ask(site, "qwen3:8b") for _ in range(6)} == {("200", "gpu02.chat")}
    sh(site, f"touch /run/drained/gpu02.chat; sleep {NOTICED_S}")
    status, answer = ask(site, "qwen3:8b", options="-D /tmp/headers")
    assert status == "503" and "error" in json.loads(answer)
    assert "retry-after: 10" in sh(site, "cat /tmp/headers").lower()
    sh(site, f"rm /run/drained/*; sleep {NOTICED_S}")
    assert ask(site, "qwen3:8b")[0] == "200"


def test_another_host_under_a_hosts_address_is_not_believed(site: Lab) -> None:
    conf = "/etc/nginx/conf.d/hops.conf"
    sh(site, f"cp {conf} /root/; sed -i s/gpu02/gpu01/g {conf}; systemctl restart nginx")
    sh(site, f"sleep {NOTICED_S}")
    assert {ask(site, "qwen3:8b") for _ in range(6)} == {("200", "gpu01.chat")}
    sh(site, f"cp /root/hops.conf {conf}; systemctl restart nginx; sleep {NOTICED_S}")
    assert ("200", "gpu02.chat") in {ask(site, "qwen3:8b") for _ in range(6)}


def test_a_long_request_needs_the_buffer_that_the_file_speaks_of(
    site: Lab, exported: dict[str, str]
) -> None:
    put(site, "/tmp/big.json", '{"messages": "' + "x" * BIG + '", "model": "qwen3:8b"}')
    # Without that buffer the engine answers before it has read all, and closes: a curl that sends
    # as fast as it can may find the connection reset before it has read the answer.
    post = (
        "curl -sk --limit-rate 8k -o /dev/null -w '%{http_code}'"
        " https://127.0.0.1/api/chat --data @/tmp/big.json"
    )
    assert sh(site, post) == "404"
    larger = site_configuration(exported["ollama.cfg"], "tune.bufsize 131072")
    put(site, "/etc/haproxy/haproxy.cfg", larger)
    sh(site, "systemctl kill -s USR2 --kill-who main engine; sleep 2")
    assert comes(lambda: sh(site, post) == "200")  # the old engine may take another one


def test_a_real_host_lets_the_engine_in_and_only_it(site: Lab, fleet: Fleet) -> None:
    bare(site, HOST, "1x-rtx3060")
    fleet.add(HOST, {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"], "context": 2048})
    fleet.settings = {
        "gateway": {},
        "gateways": {NAME: {"address": site.address(NAME), "manage": False}},
    }
    before = sh(site, "find /etc -newer /etc/haproxy/haproxy.cfg -type f")
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert sh(site, "find /etc -newer /etc/haproxy/haproxy.cfg -type f") == before, "it was touched"

    page = (ROOT / "docs/export.md").read_text().partition("```sh\nopenssl req")[2]
    commands = f"openssl req{page.partition('```')[0]}".replace(
        ".venv/bin/fleet", str(BIN / "fleet")
    )
    commands = commands.replace("lb1", NAME).replace("inventory/prod", "test")
    subprocess.run(["sh", "-ec", commands], cwd=fleet.folder, check=True, capture_output=True)
    words = [str(BIN / "fleet"), "export", "test.yml", "--to", "haproxy", "--out", "ollama.cfg"]
    subprocess.run(words, cwd=fleet.folder, check=True, capture_output=True)
    for name in ("hop.pem", "hop-ca.pem"):
        put(site, f"/etc/haproxy/ollama/{name}", (fleet.folder / name).read_text())
    for name in ("ollama.cfg", "ollama.map"):
        put(site, f"/etc/haproxy/{name}", (fleet.folder / name).read_text())
    sh(site, f"systemctl stop engine; {ENGINE}; sleep {NOTICED_S}")

    body = json.dumps({"model": "qwen3:0.6b", "prompt": "hi", "stream": False})
    got = sh(site, f"curl -sk https://127.0.0.1/api/generate -d '{body}'")
    assert json.loads(got)["done"] is True, got
    hop = f"https://{site.address(HOST)}:11443/api/version"
    refused = sh(site, f"curl -sk -o /dev/null -w '%{{http_code}}' {hop}; true")
    assert refused == "400", refused
