"""The script that loads a slice's models, in sh against a small server that keeps what it is told."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ollama_fleet.planner.plan import MODELS_DIR
from ollama_fleet.render import render_host
from ollama_fleet.warm import ABSENT, SCRIPT, environment
from tests.unit.examples import bound, host_plan

pytestmark = pytest.mark.skipif(
    not shutil.which("curl"), reason="the script needs curl: install it"
)

SLICE = {
    "name": "chat",
    "gpus": [0],
    "models": ["qwen3:8b", "nomic-embed-text"],
    "context": 4096,
}
EMBEDS = "nomic-embed-text:latest"


class Ollama(ThreadingHTTPServer):
    """Loads what it is asked to, at most `most` models; keeps every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.memory: dict[str, int] = {}
        self.asked: list[tuple[str, dict]] = []
        self.fails = 0
        self.most = 2

    @property
    def loads(self) -> list[str]:
        """Models that it was asked to load, in order."""
        return [body["model"] for route, body in self.asked]

    def load(self, body: dict) -> tuple[int, dict]:
        if self.fails:
            self.fails -= 1
            return 500, {"error": "llama runner process has terminated: CUDA error"}
        model = body["model"]
        if model not in self.memory and len(self.memory) >= self.most:
            del self.memory[next(iter(self.memory))]
        self.memory.setdefault(model, 2048 if model == EMBEDS else 4096)
        return 200, {"model": model, "done": True, "done_reason": "load"}


class Handler(BaseHTTPRequestHandler):
    server: Ollama

    def do_GET(self) -> None:
        rows = [
            # The trained context stands in the details; only the last one is the one in use.
            {"name": name, "details": {"context_length": 99}, "context_length": context}
            for name, context in self.server.memory.items()
        ]
        self.answer(200, {"models": rows})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        if self.path == "/api/generate" and body["model"] == EMBEDS:
            self.answer(400, {"error": f'"{EMBEDS}" does not support generate'})
        elif self.path == "/api/embed":
            status, answer = self.server.load(body)
            self.answer(status, {**answer, "embeddings": []} if status == 200 else answer)
        else:
            self.answer(*self.server.load(body))

    def answer(self, status: int, document: dict) -> None:
        content = json.dumps(document, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests have their own words."""


class Host:
    """A store with manifests, a systemctl that says whether models are being fetched."""

    def __init__(self, folder: Path, ollama: Ollama) -> None:
        self.folder, self.ollama = folder, ollama
        (folder / "systemctl").write_text(f"#!/bin/sh\ncat {folder}/fetching 2>/dev/null\n")
        (folder / "systemctl").chmod(0o755)
        for path in ("qwen3/8b", "nomic-embed-text/latest"):
            self.store(path)

    def manifest(self, path: str) -> Path:
        return self.folder / "models/manifests/registry.ollama.ai/library" / path

    def store(self, path: str) -> None:
        self.manifest(path).parent.mkdir(parents=True, exist_ok=True)
        self.manifest(path).write_text("{}")

    def run(self, **changes: object) -> subprocess.CompletedProcess[str]:
        with self.start(**changes) as running:
            said, errors = running.communicate(timeout=30)
        return subprocess.CompletedProcess([], running.returncode, said, errors)

    def start(self, **changes: object) -> "subprocess.Popen[str]":
        plan = host_plan(SLICE | changes)
        (text,) = (f.text for f in render_host(plan, bound(plan)).files if f.path == SCRIPT)
        text = text.replace(MODELS_DIR, f"{self.folder}/models").replace(
            "PATH=/usr/local/sbin", f"PATH={self.folder}:/usr/local/sbin"
        )
        script = self.folder / "ollama-warm"
        script.write_text(text)
        address = f"http://127.0.0.1:{self.ollama.server_port}"
        told = {**environment(plan.slices[0]), "API": address, "DELAYS": "0 0 0"}
        return subprocess.Popen(
            [shutil.which("dash") or "sh", str(script)],
            env=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    with Ollama() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def host(tmp_path: Path, ollama: Ollama) -> Host:
    return Host(tmp_path, ollama)


def test_all_models_are_loaded_and_kept_with_the_slice_s_own_context(
    host: Host, ollama: Ollama
) -> None:
    done = host.run()
    assert done.returncode == 0, done.stderr
    assert ollama.memory == {"qwen3:8b": 4096, EMBEDS: 2048}
    assert [route for route, _ in ollama.asked] == ["/api/generate", "/api/generate", "/api/embed"]
    for _, body in ollama.asked:
        assert body["keep_alive"] == -1
        assert "options" not in body and not body.get("prompt") and not body.get("input")


def test_a_keep_alive_with_a_unit_is_sent_as_it_is(host: Host, ollama: Ollama) -> None:
    assert host.run(keep_alive="30m").returncode == 0
    assert {body["keep_alive"] for _, body in ollama.asked} == {"30m"}


def test_what_is_loaded_already_is_only_kept(host: Host, ollama: Ollama) -> None:
    ollama.memory = {"qwen3:8b": 4096, EMBEDS: 2048}
    assert host.run().returncode == 0
    assert ollama.memory == {"qwen3:8b": 4096, EMBEDS: 2048}


def test_a_model_of_somebody_else_that_serves_is_left_alone(host: Host, ollama: Ollama) -> None:
    """Though a second one would find a place."""
    ollama.memory = {"codellama:34b": 4096}
    done = host.run()
    assert done.returncode == 0 and ollama.asked == []
    assert "codellama:34b is in memory and not of this slice" in done.stdout


def test_no_more_models_than_the_slice_holds_are_loaded(host: Host, ollama: Ollama) -> None:
    ollama.memory = {EMBEDS: 2048}
    done = host.run(preload=["qwen3:8b"], env={"OLLAMA_MAX_LOADED_MODELS": 1})
    assert done.returncode == 0 and ollama.asked == []
    assert "as many models are in memory as the slice holds" in done.stdout


def test_a_client_that_asked_for_a_longer_context_keeps_it(host: Host, ollama: Ollama) -> None:
    ollama.memory = {"qwen3:8b": 16384}
    assert host.run().returncode == 0
    assert set(ollama.loads) == {EMBEDS}


def test_a_load_that_fails_is_tried_again(host: Host, ollama: Ollama) -> None:
    ollama.fails = 2
    done = host.run()
    assert done.returncode == 0 and len(ollama.memory) == 2
    assert "qwen3:8b cannot be loaded: llama runner process has terminated" in done.stderr


def test_a_load_that_never_works_fails_in_ollama_s_words(host: Host, ollama: Ollama) -> None:
    ollama.fails = 99
    done = host.run(preload=["qwen3:8b"])
    assert done.returncode == 1
    assert ollama.loads == ["qwen3:8b"] * 4
    assert done.stderr.splitlines()[-1].endswith("process has terminated: CUDA error")


def test_a_slice_that_is_gone_is_no_success(host: Host, ollama: Ollama) -> None:
    ollama.shutdown()
    ollama.server_close()
    done = host.run()
    assert done.returncode == 1 and "Failed to connect" in done.stderr


def test_a_model_that_is_not_there_is_for_whoever_fetches_it(host: Host, ollama: Ollama) -> None:
    host.manifest("qwen3/8b").unlink()
    done = host.run()
    assert done.returncode == ABSENT and done.stderr == ""
    assert set(ollama.memory) == {EMBEDS}


def test_a_download_that_runs_is_waited_for(host: Host, ollama: Ollama) -> None:
    host.manifest("qwen3/8b").unlink()
    (host.folder / "fetching").write_text("inactive\nactivating\n")
    running = host.start()
    assert running.stdout
    assert running.stdout.readline() == "waiting for qwen3:8b to be fetched\n"
    assert ollama.asked == []
    host.store("qwen3/8b")
    running.communicate(timeout=30)
    assert running.returncode == 0 and set(ollama.memory) == {"qwen3:8b", EMBEDS}


def test_models_that_do_not_fit_together_are_no_success(host: Host, ollama: Ollama) -> None:
    ollama.most = 1
    done = host.run()
    assert done.returncode == 1
    assert "qwen3:8b is gone again: the slice does not hold all of them" in done.stderr
