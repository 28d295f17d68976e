"""The packed release and the model registry, as a mirror serves them."""

import hashlib
import subprocess
from pathlib import Path

import gguf
import pytest

from lab import models
from lab.standin import pack


@pytest.fixture
def release(tmp_path):
    def build(name="release", **more):
        return pack.build_release(tmp_path / name, cache=tmp_path / "cache", **more)

    return build


def test_checksums_have_the_form_of_the_real_release(release):
    archive = release()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    text = archive.with_name("sha256sum.txt").read_text()
    assert text == f"{digest}  ./ollama-linux-amd64.tar.zst\n"


def test_archive_is_the_same_each_time_and_is_not_written_again(release):
    archive = release()
    before = archive.stat()
    assert release() == archive
    assert (archive.stat().st_mtime_ns, archive.stat().st_ino) == (
        before.st_mtime_ns,
        before.st_ino,
    )
    assert release("other").read_bytes() == archive.read_bytes()
    assert [path.name for path in sorted(archive.parent.iterdir())] == [
        "ollama-linux-amd64.tar.zst",
        "sha256sum.txt",
    ]


def test_archive_has_the_layout_of_the_real_one(release):
    listing = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", release()], capture_output=True, text=True, check=True
    ).stdout
    modes = {line.split()[-1]: line.split()[:2] for line in listing.splitlines()}
    assert modes["bin/ollama"] == ["-rwxr-xr-x", "0/0"]
    assert modes["lib/ollama/llama-server"] == ["-rwxr-xr-x", "0/0"]
    assert "lib/ollama/cuda_v13/libggml-cuda.so" in modes
    assert not any("__pycache__" in name or name.startswith("./") for name in modes)


def test_another_version_says_its_number(release, tmp_path):
    archive = release(version="0.32.14")
    subprocess.run(["tar", "-C", tmp_path, "-xf", archive], check=True)
    environment = {"HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:1"}
    command = [tmp_path / "bin" / "ollama", "--version"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "client version is 0.32.14" in said.stdout
    assert release("newer").read_bytes() != archive.read_bytes()


def test_program_finds_its_modules_through_a_link(prefix, tmp_path):
    link = tmp_path / "ollama"
    link.symlink_to(prefix / "bin" / "ollama")
    environment = {"HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:1"}
    assert subprocess.run([link, "--version"], env=environment, capture_output=True).returncode == 0
    assert not list(Path(prefix).rglob("__pycache__"))


def test_real_archive_in_the_cache_is_used_unchanged(release, tmp_path):
    release()
    (tmp_path / "cache").mkdir()
    real = tmp_path / "cache" / "ollama-linux-amd64.tar.zst"
    real.write_bytes(b"the real one")
    archive = release()
    assert archive.read_bytes() == b"the real one"
    digest = hashlib.sha256(b"the real one").hexdigest()
    assert archive.with_name("sha256sum.txt").read_text().startswith(digest)


def test_models_are_valid_gguf_files_that_say_how_big_they_pretend_to_be(mirror):
    table = models.load_table()
    found = {}
    for path in mirror.glob("v2/library/qwen3/blobs/*"):
        if path.read_bytes()[:4] == b"GGUF":
            reader = gguf.GGUFReader(path)
            fields = {key: field.contents() for key, field in reader.fields.items()}
            found[fields["general.name"]] = fields
            assert len(fields["tokenizer.ggml.tokens"]) == 300
            assert {t.name for t in reader.tensors} >= {"token_embd.weight", "blk.1.ffn_up.weight"}
    assert set(found) == {tag for tag in table if tag.startswith("qwen3:")}
    for tag, fields in found.items():
        assert fields["lab.weight_bytes"] == table[tag].weight_bytes
        assert fields["lab.kv_bytes_per_token"] == table[tag].kv_bytes_per_token


def test_registry_is_built_again_without_a_write(tmp_path):
    table = {tag: model for tag, model in models.load_table().items() if "llama" in tag}
    models.build_registry(tmp_path, table)

    def state():
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = state()
    models.build_registry(tmp_path, table)
    assert state() == before
    shared = [path for path in before if path.stat().st_nlink > 1]
    families = {tag.partition(":")[0] for tag in table}
    assert len(shared) == 3 * len(families)  # template, license and parameters of each family


def test_blobs_in_the_registry_have_their_digests_as_names(mirror):
    blobs = list(mirror.glob("v2/library/*/blobs/*"))
    assert len(blobs) > 20
    for path in blobs:
        assert path.name == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
