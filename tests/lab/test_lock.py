"""A tag that moves at its registry, with and without a lock file. The registry is a lab host of its own."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, Fleet

ORIGIN, FIRST, SECOND = "bun1", "bun2", "bun3"
MODEL = "qwen3:0.6b"
TAG = "/srv/v2/library/qwen3/manifests/0.6b"
SITE = """
server {
    listen 8000;
    root /srv;
    location ~ /manifests/ { default_type application/vnd.docker.distribution.manifest.v2+json; }
    location ~ /blobs/ { add_header Location $scheme://$http_host$request_uri; }
}
"""
# Other weights under the tag: one more parameter, so that all but one part stays.
MOVE = f"""
cd /srv/v2/library/qwen3
echo '{{"temperature":0.1}}' >params
digest=$(sha256sum params | cut -d' ' -f1)
size=$(stat -c %s params)
mv params blobs/sha256:$digest
old=$(grep -o '{{[^{{}}]*image.params[^{{}}]*}}' {TAG})
new='{{"mediaType":"application/vnd.ollama.image.params","digest":"sha256:'$digest'","size":'$size'}}'
sed "s|$old|$new|" {TAG} >moved
! cmp -s moved {TAG}
mv moved {TAG}
sha256sum {TAG} | cut -d' ' -f1
"""
MANIFESTS = "/var/lib/ollama/models/manifests/registry.ollama.ai"
DIGEST = f"sha256sum {MANIFESTS}/library/{MODEL.replace(':', '/')} | cut -d' ' -f1"


@pytest.fixture(scope="module")
def registry(lab: Lab) -> Iterator[str]:
    """A registry with one model of the lab's."""
    bare(lab, ORIGIN, "no-gpu")
    run(lab, "apt-get -qq update && apt-get -qq -y install nginx >/dev/null 2>&1")
    pack = subprocess.Popen(
        ["tar", "-C", str(lab.paths.mirror), "-c", "v2/library/qwen3"], stdout=subprocess.PIPE
    )
    command = [*lab.ssh_command(ORIGIN), "--", "tar -C /srv -x"]
    subprocess.run(command, stdin=pack.stdout, check=True)
    assert pack.wait() == 0
    run(lab, f"cat >/etc/nginx/conf.d/origin.conf <<'END'\n{SITE}\nEND\nsystemctl restart nginx")
    yield f"http://{lab.address(ORIGIN)}:8000"
    for name in (ORIGIN, FIRST, SECOND):
        if name in lab.paths.host_names():
            lab.remove(name)


def run(lab: Lab, command: str) -> str:
    done = lab.ssh(ORIGIN, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def lock(fleet: Fleet, *options: str) -> "tuple[int, dict[str, Any]]":
    """One `fleet lock`, as a user would type it."""
    path = fleet.inventory.with_suffix(".yml")
    done = subprocess.run(
        [str(BIN / "fleet"), "lock", str(path), "--json", *options], capture_output=True, text=True
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.lab
def test_a_tag_that_moves_changes_no_locked_weights(lab: Lab, fleet: Fleet, registry: str) -> None:
    chat = {"name": "chat", "gpus": [0], "models": [MODEL]}
    fleet.add(bare(lab, FIRST, "1x-rtx3060"), chat, ollama={"registry": registry})
    assert fleet.deploy().code == 0
    before = fleet.sh(FIRST, DIGEST)
    code, said = lock(fleet)
    assert code == 0 and said["models"][MODEL]["digest"] == f"sha256:{before}"

    after = run(lab, f"set -e; {MOVE}")
    assert after != before
    code, said = lock(fleet, "--check")
    assert code == 1 and said["models"][MODEL]["digest"] == f"sha256:{after}"

    # A host that comes later gets what the first one has, and the tag is told.
    fleet.add(bare(lab, SECOND, "1x-rtx3060"), chat, ollama={"registry": registry})
    run_of_both = fleet.deploy()
    assert run_of_both.code == 0, run_of_both.text
    assert "its tag has moved at the registry" in run_of_both.text
    assert fleet.sh(SECOND, DIGEST) == fleet.sh(FIRST, DIGEST) == before
    asked = fleet.verify("--wide", "--check", "locked weights")
    assert asked.code == 0 and asked.text.count(" locked weights ") == 2, asked.text
    assert fleet.deploy().changed() == {}

    # Without the lock a host keeps what it has, and the report tells hosts apart.
    (fleet.folder / "test.lock.json").unlink()
    fleet.sh(SECOND, f"rm -r {MANIFESTS}")
    unlocked = fleet.deploy()
    assert unlocked.code == 0, unlocked.text
    assert fleet.sh(FIRST, DIGEST) == before and fleet.sh(SECOND, DIGEST) == after
    assert f"{MODEL} is not the same on all hosts" in unlocked.text

    # And what is locked anew is the same everywhere again.
    assert lock(fleet)[0] == 0
    assert fleet.deploy().code == 0
    assert fleet.sh(FIRST, DIGEST) == fleet.sh(SECOND, DIGEST) == after
