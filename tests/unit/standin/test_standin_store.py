"""The routes that read and change the store."""

import hashlib
import json


def test_tags_describe_each_model(shared, mirror):
    models = {entry["name"]: entry for entry in shared.http.get("/api/tags").json()["models"]}
    assert {"qwen3:0.6b", "qwen3:8b", "qwen3:32b", "nomic-embed-text:latest"} <= set(models)
    manifest = (mirror / "v2" / "library" / "qwen3" / "manifests" / "8b").read_bytes()
    entry = models["qwen3:8b"]
    assert entry["digest"] == hashlib.sha256(manifest).hexdigest()
    sizes = [layer["size"] for layer in json.loads(manifest)["layers"]]
    assert entry["size"] == sum(sizes) + json.loads(manifest)["config"]["size"]
    assert entry["details"]["parameter_size"] == "8.2B"
    assert entry["details"]["quantization_level"] == "Q4_K_M"
    assert models["nomic-embed-text:latest"]["capabilities"] == ["embedding"]


def test_show_tells_the_dimensions_that_the_model_pretends_to_have(shared):
    shown = shared.http.post("/api/show", json={"model": "qwen3:8b"}).json()
    assert shown["model_info"]["general.architecture"] == "qwen3"
    assert shown["model_info"]["qwen3.block_count"] == 36
    assert shown["model_info"]["qwen3.context_length"] == 40960
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert "{{ .Prompt }}" in shown["template"] and "temperature" in shown["parameters"]


def test_model_put_into_the_store_is_usable_at_once(shared, mirror):
    assert shared.generate("llama3.2:1b").status_code == 404
    shared.fill_store(mirror, "llama3.2:1b")
    assert shared.generate("llama3.2:1b").status_code == 200


def test_damaged_weights_are_listed_and_fail_to_load(ollama, mirror):
    ollama.fill_store(mirror, "llama3.2:1b")
    assert ollama.generate("llama3.2:1b", prompt="", keep_alive=0).status_code == 200
    manifest = json.loads((mirror / "v2/library/llama3.2/manifests/1b").read_bytes())
    weights = ollama.models / "blobs" / manifest["layers"][0]["digest"].replace(":", "-")
    weights.unlink()  # a link: the mirror keeps its own
    weights.write_bytes(b"GGUF")
    names = [entry["name"] for entry in ollama.http.get("/api/tags").json()["models"]]
    assert "llama3.2:1b" in names
    assert ollama.generate("llama3.2:1b").status_code == 500


def test_copy_and_delete_keep_shared_blobs(ollama):
    def delete(name):
        return ollama.http.request("DELETE", "/api/delete", json={"model": name})

    copy = {"source": "qwen3:8b", "destination": "mine"}
    assert ollama.http.post("/api/copy", json=copy).status_code == 200
    assert delete("qwen3:8b").status_code == 200
    assert ollama.generate("mine").status_code == 200
    before = len(list((ollama.models / "blobs").iterdir()))
    assert delete("mine").status_code == 200
    assert len(list((ollama.models / "blobs").iterdir())) == before - 2  # weights and config
    assert delete("mine").status_code == 404
    missing = ollama.http.post("/api/copy", json={"source": "absent", "destination": "x"})
    assert missing.status_code == 404


def test_blobs_are_taken_only_under_their_own_digest(shared):
    content = b"some bytes"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = f"/api/blobs/{digest}"
    assert shared.http.head(path).status_code == 404
    assert shared.http.post(path, content=b"others").status_code == 400
    assert shared.http.head(path).status_code == 404
    assert shared.http.post(path, content=iter([b"some ", b"bytes"])).status_code == 201  # chunked
    assert shared.http.post(path, content=content).status_code == 200
    assert shared.http.head(path).status_code == 200
    assert shared.http.head("/api/blobs/sha256:../../x").status_code in (400, 404)


def test_create_from_a_model_with_parameters(shared):
    body = {"model": "long", "from": "qwen3:0.6b", "parameters": {"num_ctx": 8192}}
    lines = shared.http.post("/api/create", json=body).text.splitlines()
    assert json.loads(lines[-1]) == {"status": "success"}
    shared.generate("long", prompt="")
    assert [e["context_length"] for e in shared.ps() if e["name"] == "long:latest"] == [8192]
    shown = shared.http.post("/api/show", json={"model": "long"}).json()["parameters"]
    assert "num_ctx" in shown and "temperature" in shown


def test_create_from_an_uploaded_file(shared, mirror):
    manifest = json.loads((mirror / "v2/library/llama3.1/manifests/8b").read_bytes())
    digest = manifest["layers"][0]["digest"]
    content = (mirror / "v2/library/llama3.1/blobs" / digest).read_bytes()
    body = {"model": "tiny", "files": {"tiny.gguf": digest}, "stream": False}
    assert shared.http.post("/api/create", json=body).status_code == 400  # not uploaded yet
    shared.http.post(f"/api/blobs/{digest}", content=content)
    assert shared.http.post("/api/create", json=body).json() == {"status": "success"}
    assert shared.generate("tiny").status_code == 200


def test_create_refuses_what_it_cannot_make(shared):
    def status(**more):
        body = {"model": "x", "stream": False, **more}
        return shared.http.post("/api/create", json=body).status_code

    assert status() == 400
    assert status(**{"from": "qwen3:8b", "template": "{{ .Prompt"}) == 400
    assert status(**{"from": "qwen3:8b", "parameters": [1]}) == 400
    assert status(files={"../x.gguf": "sha256:" + "0" * 64}) == 400
