"""The shell that has Ollama make models of files, run for real in a store that belongs to somebody else."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from ollama_fleet.custom_state import CustomState, make_steps
from ollama_fleet.fetching import FETCH_SCRIPT
from ollama_fleet.host.upload import begin_step
from ollama_fleet.planner.custom import CustomModel
from ollama_fleet.planner.plan import STORE_FOLDERS, USER
from ollama_fleet.render_store import fetch_script
from tests.unit.examples import host_plan

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")

NOBODY = 65534
FILE = b"GGUF, as a person has it"
MADE = b"what Ollama made of it"
NEW = "manifests/registry.ollama.ai/ollama-fleet/new/latest"
# Ollama's answer to /api/create; everything else is well.
CURL = """case "$*" in *api/create*) ;; *) exit 0 ;; esac
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '
    mkdir -p {store}/{folder} && cp {root}/manifest {store}/{new} &&
        cp {root}/made {store}/blobs/sha256-{digest}'
echo '{{"status":"success"}}'
"""


@dataclass
class Store:
    """A store of the user nobody, and a script of root's that works in it."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "store"

    def run(self, step: str) -> subprocess.CompletedProcess[str]:
        text = f"""set -eu
umask 022
say() {{ :; }}
fail() {{ echo "$*" >&2; exit 1; }}
main() {{
{step}
}}
main </dev/null"""
        for name in (f"={USER}", f"--reuid={USER}", f"--regid={USER}"):
            text = text.replace(name, name.replace(USER, str(NOBODY)))
        text = text.replace(FETCH_SCRIPT, str(self.root / "fetch"))
        return subprocess.run(
            ["sh", "-c", text],
            env={"PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def make(self) -> subprocess.CompletedProcess[str]:
        plan = host_plan({"name": "a", "gpus": [0], "models": ["qwen3:8b"]})
        plan = replace(plan, store=replace(plan.store, path=str(self.path)))
        model = CustomModel("bot:1", "host", str(self.root / "private" / "x.gguf"), None, "{}")
        return self.run("\n".join(make_steps(plan, CustomState((model,)))))

    def owners(self) -> set[int]:
        return {path.lstat().st_uid for path in self.path.rglob("*")}


@pytest.fixture
def store() -> Iterator[Store]:
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for name in STORE_FOLDERS:
        (root / "store" / name).mkdir(parents=True)
    (root / "bin").mkdir()
    # A file that the service user cannot read.
    (root / "private").mkdir(mode=0o700)
    (root / "private" / "x.gguf").write_bytes(FILE)
    digest = sha256(MADE).hexdigest()
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{digest}",
        "size": len(MADE),
    }
    (root / "manifest").write_text(json.dumps({"config": layer, "layers": [layer]}))
    (root / "made").write_bytes(MADE)
    folder = NEW.rpartition("/")[0]
    curl = CURL.format(root=root, store=root / "store", new=NEW, folder=folder, digest=digest)
    tools = {"bin/curl": curl, "bin/systemctl": "exit 0", "fetch": ""}
    for name, text in tools.items():
        (root / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / name).chmod(0o755)
    (root / "fetch").write_text(fetch_script().text)
    for path in [root / "store", *(root / "store").rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    yield Store(root)
    shutil.rmtree(root)


def test_a_model_is_made_of_a_file_that_root_alone_can_read(store: Store) -> None:
    done = store.make()
    assert (done.returncode, done.stderr) == (0, "")
    there = {path.name for path in (store.path / "blobs").iterdir()}
    assert there == {f"sha256-{sha256(MADE).hexdigest()}"}
    here = store.path / "manifests/registry.ollama.ai/library/bot/1"
    assert here.read_bytes() == (store.root / "manifest").read_bytes()
    stamp = (store.path / "custom" / "bot:1").read_text()
    assert f"source {sha256(FILE).hexdigest()} {sha256(MADE).hexdigest()}" in stamp
    assert {path.name for path in (store.path / "custom").iterdir()} == {"bot:1"}
    assert not (store.path / "manifests/registry.ollama.ai/ollama-fleet").exists()
    assert store.owners() == {NOBODY}
    assert store.make().returncode == 0


TRAPS = (
    "fetch/lock",
    "fetch/sound",
    "custom/.stamp",
    "custom/.source-bot:1",
    f"custom/.incoming-sha256-{sha256(FILE).hexdigest()}",
    f"blobs/sha256-{sha256(FILE).hexdigest()}",
    "manifests/registry.ollama.ai/library/bot/1",
)


@pytest.mark.parametrize("exists", [True, False], ids=["a file", "a new name"])
@pytest.mark.parametrize("trap", TRAPS)
def test_no_link_in_the_store_leads_root_elsewhere(store: Store, trap: str, exists: bool) -> None:
    """Whoever took over the service user would be root."""
    etc = store.root / "etc"
    etc.mkdir()
    if exists:
        (etc / "shadow").write_text("root:secret")
        (etc / "shadow").chmod(0o600)
    link = store.path / trap
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(etc / "shadow")
    store.make()
    size = len(FILE) + 5
    store.run(begin_step("bot:1", sha256(FILE).hexdigest(), size, str(store.path)))
    assert [path.name for path in etc.iterdir()] == (["shadow"] if exists else [])
    if exists:
        assert (etc / "shadow").read_text() == "root:secret"
        assert (etc / "shadow").stat().st_uid == 0
        assert (etc / "shadow").stat().st_mode & 0o777 == 0o600
