"""Pulling from a registry: what arrives, what resumes, and how it fails."""

import hashlib
import json
import shutil

import pytest


@pytest.fixture
def puller(empty):
    """A server with an empty store."""
    for folder in ("blobs", "manifests"):
        shutil.rmtree(empty.models / folder)
        (empty.models / folder).mkdir()
    return empty


def pull(server, model, **more):
    answer = server.http.post("/api/pull", json={"model": model, "insecure": True, **more})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_pulled_model_is_complete_and_answers(puller, registry):
    name = f"{registry.host}/library/qwen3:1.7b"
    steps = pull(puller, name)
    said = [step["status"] for step in steps]
    assert said[0] == "pulling manifest"
    assert said[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    weights = max(steps, key=lambda step: step.get("total", 0))
    assert weights["status"] == f"pulling {weights['digest'][7:19]}" and weights["total"] > 400000
    for blob in (puller.models / "blobs").iterdir():
        assert blob.name == f"sha256-{hashlib.sha256(blob.read_bytes()).hexdigest()}"
    assert puller.generate(name).status_code == 200
    assert name in [entry["name"] for entry in puller.http.get("/api/tags").json()["models"]]


def test_second_pull_downloads_nothing(puller, registry):
    name = f"{registry.host}/library/qwen3:1.7b"
    pull(puller, name)
    registry.seen.clear()
    assert pull(puller, name)[-1] == {"status": "success"}
    assert [path for _, path, _ in registry.seen] == ["/v2/library/qwen3/manifests/1.7b"]


def test_missing_model_is_an_error_inside_a_200_stream(puller, registry):
    steps = pull(puller, f"{registry.host}/library/absent:1b")
    error = {"error": "pull model manifest: file does not exist"}
    assert steps == [{"status": "pulling manifest"}, error]
    body = {"model": f"{registry.host}/library/absent:1b", "insecure": True, "stream": False}
    whole = puller.http.post("/api/pull", json=body)
    assert (whole.status_code, whole.json()) == (500, error)


def test_registry_without_location_header_cannot_be_pulled_from(puller, registry):
    registry.sends_location = False
    steps = pull(puller, f"{registry.host}/library/qwen3:14b")
    assert steps[-1] == {"error": "http: no Location header in response"}


def test_without_insecure_the_registry_is_asked_over_tls(puller, registry):
    steps = pull(puller, f"{registry.host}/library/qwen3:14b", insecure=False)
    assert steps[-1]["error"].startswith('pull model manifest: Get "https://127.0.0.1:')
    assert registry.seen == []


def weights_of(mirror, tag):
    manifest = json.loads((mirror / f"v2/library/qwen3/manifests/{tag}").read_bytes())
    return manifest["layers"][0]


def test_partial_download_is_resumed_with_a_range(puller, registry, mirror):
    layer = weights_of(mirror, "14b")
    content = (mirror / "v2/library/qwen3/blobs" / layer["digest"]).read_bytes()
    partial = puller.models / "blobs" / (layer["digest"].replace(":", "-") + "-partial")
    partial.write_bytes(content[:100_000])
    state = {"N": 0, "Offset": 0, "Size": layer["size"], "Completed": 100_000}
    partial.with_name(f"{partial.name}-0").write_text(json.dumps(state))
    assert pull(puller, f"{registry.host}/library/qwen3:14b")[-1] == {"status": "success"}
    ranges = [found for _, path, found in registry.seen if path.endswith(layer["digest"]) and found]
    assert ranges == [f"bytes=100000-{layer['size'] - 1}"]
    assert not list(partial.parent.glob("*-partial*"))


def test_broken_transfers_are_taken_up_where_they_broke(puller, registry, mirror):
    registry.cut_bytes = 200_000
    assert pull(puller, f"{registry.host}/library/qwen3:14b")[-1] == {"status": "success"}
    ranges = [found for _, _, found in registry.seen if found]
    assert ranges[1].startswith("bytes=200000-") and ranges[2].startswith("bytes=400000-")


def test_mirror_that_always_truncates_fails_and_leaves_a_resumable_part(puller, registry):
    registry.cut_bytes = 1000
    steps = pull(puller, f"{registry.host}/library/qwen3:14b")
    assert steps[-1] == {"error": "max retries exceeded: unexpected EOF"}
    assert list((puller.models / "blobs").glob("*-partial-0"))
    assert not list((puller.models / "manifests").glob(f"{registry.host}/*/*/*"))


def test_wrong_bytes_are_noticed_and_thrown_away(puller, registry, mirror, tmp_path):
    layer = weights_of(mirror, "14b")
    partial = puller.models / "blobs" / (layer["digest"].replace(":", "-") + "-partial")
    partial.write_bytes(b"x" * layer["size"])
    state = {"N": 0, "Offset": 0, "Size": layer["size"], "Completed": layer["size"]}
    partial.with_name(f"{partial.name}-0").write_text(json.dumps(state))
    name = f"{registry.host}/library/qwen3:14b"
    assert pull(puller, name)[-1]["error"].startswith("digest mismatch")
    assert puller.generate(name).status_code == 404
    assert pull(puller, name)[-1] == {"status": "success"}
