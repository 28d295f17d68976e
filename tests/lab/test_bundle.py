"""A host that reaches nothing but a bundle, and its distribution's own packages, gets all the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, MIRROR, RELEASES, Fleet

# The site's mirror of the distribution, and the host.
SITE, HOST = "bun1", "bun4"
# The lab's network, seen from this machine.
OUTSIDE = "10.77.0.1"
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}
DEBIAN_ONLY = f"""
server {{
    listen 8000;
    location /debian/ {{ proxy_pass {MIRROR}; }}
}}
"""


@pytest.fixture
def site(lab: Lab) -> Iterator[str]:
    """A mirror of the distribution and of nothing else."""
    bare(lab, SITE, "no-gpu")
    sh(lab, SITE, "apt-get -qq update && apt-get -qq -y install nginx >/dev/null 2>&1")
    write = f"cat >/etc/nginx/conf.d/site.conf <<'END'\n{DEBIAN_ONLY}\nEND\n"
    sh(lab, SITE, f"{write}systemctl restart nginx")
    yield f"http://{lab.address(SITE)}:8000"
    for name in (SITE, HOST):
        if name in lab.paths.host_names():
            lab.remove(name)


def sh(lab: Lab, host: str, command: str) -> str:
    done = lab.ssh(host, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def cut_off(lab: Lab, site: str) -> None:
    """The host reaches the site's mirror of the distribution, and the public originals no more."""
    sh(lab, HOST, f"sed -i 's|{MIRROR}/debian|{site}/debian|' /etc/apt/sources.list.d/*")
    sh(lab, HOST, f"ip route add blackhole {MIRROR.partition('//')[2]}")
    reached = "import urllib.request as r; r.urlopen('{}', timeout=3)"
    for address in (f"{MIRROR}/v2/", f"{MIRROR}/debian/dists/bookworm/InRelease"):
        assert lab.ssh(HOST, f'python3 -c "{reached.format(address)}"').returncode != 0
    sh(lab, HOST, f'python3 -c "{reached.format(f"{site}/debian/dists/bookworm/InRelease")}"')


def environment(lab: Lab, folder: Path) -> dict[str, str]:
    """This machine's, with an nginx in PATH: its own, or the very program of the lab's package."""
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        (package,) = (lab.paths.mirror / "debian/pool").rglob("nginx_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:{folder}/usr/sbin"}


def fleet_command(*words: object) -> dict[str, Any]:
    done = subprocess.run(
        [str(BIN / "fleet"), *map(str, words), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@contextmanager
def served(bundle: Path, env: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What `fleet serve-bundle` says for an inventory, while it serves; afterwards nothing is left."""
    with socket.create_server((OUTSIDE, 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [BIN / "fleet", "serve-bundle", bundle, "--listen", f"{OUTSIDE}:{port}", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    try:
        assert process.stdout
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        yield json.loads(text)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    with socket.socket() as left:
        assert left.connect_ex((OUTSIDE, port)) != 0


def looks_like_a_registry(url: str, bundle: Path) -> None:
    """What Ollama's own client and the fetch script rely on."""
    model = f"{url}/v2/library/qwen3"
    manifest = requests.get(f"{model}/manifests/0.6b", timeout=5)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    assert manifest.headers["Content-Type"] == kind
    blob = manifest.json()["layers"][0]["digest"]
    part = requests.get(f"{model}/blobs/{blob}", headers={"Range": "bytes=5-8"}, timeout=5)
    whole = (bundle / f"v2/library/qwen3/blobs/{blob}").read_bytes()
    assert part.status_code == 206 and part.content == whole[5:9]
    # The standard library does not go there by itself, as Ollama's client does.
    head = requests.head(f"{model}/blobs/{blob}", timeout=5)
    assert head.status_code == 200 and head.headers["Location"].endswith(f"/blobs/{blob}")
    assert requests.post(f"{url}/v2/library/qwen3/blobs/uploads/", timeout=5).status_code == 405
    assert requests.get(f"{url}/.fleet-bundle/sound.json", timeout=5).status_code == 404


@pytest.mark.lab
def test_a_host_without_a_way_out_is_served_by_a_bundle(
    lab: Lab, fleet: Fleet, site: str, tmp_path: Path
) -> None:
    keys = {"key": str(lab.paths.mirror / "libnvidia-container/gpgkey")}
    toolkit = {"install": True, "repository": f"{MIRROR}/libnvidia-container", **keys}
    fleet.add(
        bare(lab, HOST, "bare-1x-rtx3060"),
        CHAT,
        driver=fleet.mirrored_driver,
        container_toolkit=toolkit,
    )
    inventory, bundle = fleet.inventory.with_suffix(".yml"), tmp_path / "bundle"
    fleet_command("lock", inventory)
    made = fleet_command("bundle", inventory, "-o", bundle, "--distribution", "debian12")
    assert made["failures"] == [] and made["fetched"] == made["files"]
    again = fleet_command("bundle", inventory, "-o", bundle, "--distribution", "debian12")
    assert again["fetched"] == 0
    fleet_command("bundle", "--verify", bundle)

    cut_off(lab, site)
    with served(bundle, environment(lab, tmp_path / "nginx")) as said:
        looks_like_a_registry(said["url"], bundle)
        # As an inventory for hosts out there says it: where the bundle is, and the lab's own keys.
        sums = lab.paths.mirror / RELEASES / f"v{fleet.version}/sha256sum.txt"
        fleet.settings = {
            "ollama": {"version": fleet.version, "sha256_file": str(sums)},
            "mirrors": said["mirrors"],
        }
        driver = {"key": fleet.mirrored_driver["key"]}
        fleet.add(HOST, CHAT, driver=driver, container_toolkit={"install": True, **keys})
        run = fleet.deploy()
    assert run.code == 0, run.text
    assert ", 0 failed" in run.text
    asked = fleet.verify("--wide", "--check", "locked weights")
    assert asked.code == 0 and asked.text.count(" locked weights ") == 1, asked.text
    assert "580.105.08" in fleet.sh(HOST, "head -n 1 /proc/driver/nvidia/version")
    assert "1.20.0" in fleet.sh(HOST, "dpkg-query -W nvidia-container-toolkit-base")
    # What is there needs no bundle any more.
    assert fleet.deploy().changed() == {}
