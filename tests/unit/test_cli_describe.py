"""`fleet describe`: a user's own model becomes an inventory entry that plans."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from lab.models import build_registry, load_table
from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import plan_fleet
from tests.unit.fleet_cli import fleet, fleet_json


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real GGUF file."""
    folder = tmp_path_factory.mktemp("registry")
    build_registry(folder, {"tinyllama": load_table()["tinyllama"]})
    blobs = (folder / "v2/library/tinyllama/blobs").iterdir()
    largest = max(blobs, key=lambda path: path.stat().st_size)
    return largest.rename(folder / "my-own.gguf")


def test_a_file_becomes_an_entry_that_plans(gguf: Path, tmp_path: Path) -> None:
    done = fleet("describe", gguf, "--tag", "my-own:1b")
    inventory = yaml.safe_load(done.stdout) | {
        "version": 1,
        "hosts": {
            "a": {
                "gpus": [{"model": "RTX 3060 12GB"}],
                "slices": [{"name": "own", "gpus": [0], "models": ["my-own:1b"]}],
            }
        },
    }
    path = tmp_path / "prod.yml"
    path.write_text(yaml.safe_dump(inventory))
    plan = plan_fleet(load_fleet(path)).required().hosts["a"]
    assert "my-own:1b" in str(plan.memory)


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked == {"model": "own:7b", "verbose": True}
        body = json.dumps(SHOWN if known else {"error": "not found"}).encode()
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


SHOWN = {
    "details": {"quantization_level": "Q4_0"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 1_100_000,
        "llama.block_count": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.tokens": ["a"] * 300,
    },
    "tensors": [
        {"name": "token_embd.weight", "type": "F32", "shape": [64, 300]},
        {"name": "output.weight", "type": "F32", "shape": [64, 300]},
        {"name": "blk.0.attn_k.weight", "type": "F32", "shape": [64, 32]},
        {"name": "blk.1.attn_k.weight", "type": "F32", "shape": [64, 32]},
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that answers /api/show as Ollama does."""
    http = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()


def test_a_running_server_is_asked(server: str) -> None:
    entry = fleet_json("describe", server, "--tag", "own:7b")
    assert (entry["tag"], entry["layers"], entry["full"]["kv_heads"]) == ("own:7b", 2, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{server}",), 2, "Name it with --tag"),
        (("{server}", "--tag", "gone"), 1, "404 for gone"),
        (("http://127.0.0.1:9", "--tag", "x"), 1, "gives no answer"),
        (("none.gguf",), 2, "none.gguf cannot be read: No such file"),
        (("{file}",), 2, "GGUF"),
    ],
)
def test_what_cannot_be_described_is_said(
    server: str, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 40)
    filled = (argument.format(server=server, file=broken) for argument in arguments)
    assert words in fleet("describe", *filled, code=code).output
