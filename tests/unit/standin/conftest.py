"""Fixtures of the stand-in's tests: driver, device nodes, release, registry, running servers."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from host import Driver, Ollama, Registry, make_environment, make_nodes

from lab.models import build_registry
from lab.standin.pack import build_release

PAYLOAD = Path(__file__).parents[3] / "lab" / "standin" / "payload" / "lib" / "ollama"
sys.path.append(str(PAYLOAD))  # the modules of the stand-in, for what needs no process

STOCK = ("qwen3:0.6b", "qwen3:8b", "qwen3:32b", "nomic-embed-text")


@contextmanager
def driver_at(path: Path) -> Iterator[Driver]:
    with Driver(path) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driver_at(tmp_path / "driver.sock") as server:
        yield server


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    return make_nodes(tmp_path)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed release, unpacked as a deploy would do it."""
    folder = tmp_path_factory.mktemp("release")
    archive = build_release(folder, cache=folder / "no-cache")
    target = folder / "prefix"
    target.mkdir()
    subprocess.run(["tar", "-C", target, "-xf", archive], check=True)
    return target


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    build_registry(folder)
    return folder


@pytest.fixture
def registry(mirror: Path) -> Iterator[Registry]:
    with Registry(mirror) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def environment(tmp_path: Path, nodes: Path) -> dict[str, str]:
    return make_environment(tmp_path)


@pytest.fixture
def launch(prefix: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable]:
    """Start `ollama serve` with more environment; ends with the test."""
    running: list[Ollama] = []

    def start(**more: str) -> Ollama:
        log = tmp_path / f"serve-{len(running)}.log"
        running.append(Ollama(prefix, environment | more, log))
        return running[-1]

    yield start
    for ollama in running:
        ollama.end()


@pytest.fixture
def ollama(launch: Callable, driver: Driver, mirror: Path) -> Ollama:
    """A server with two GPUs and a few models."""
    server = launch().wait()
    server.fill_store(mirror, *STOCK)
    return server


@contextmanager
def standing(folder: Path, prefix: Path) -> Iterator[Ollama]:
    make_nodes(folder)
    with driver_at(folder / "driver.sock"):
        server = Ollama(prefix, make_environment(folder), folder / "serve.log").wait()
        yield server
        server.end()


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, prefix: Path, mirror: Path
) -> Iterator[Ollama]:
    """The same as `ollama`, for tests that leave no trace in it."""
    with standing(tmp_path_factory.mktemp("shared"), prefix) as server:
        server.fill_store(mirror, *STOCK)
        yield server


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, prefix: Path) -> Iterator[Ollama]:
    """A server with nothing in its store."""
    with standing(tmp_path_factory.mktemp("empty"), prefix) as server:
        yield server
