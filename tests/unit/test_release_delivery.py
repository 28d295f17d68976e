"""Who brings the archive: what the operation does on a host, step by step."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pyinfra.api import FunctionCommand
from pyinfra.api.state import StateStage
from pyinfra.connectors.local import LocalConnector

from ollama_fleet.host import answers, delivery, memory, release
from ollama_fleet.host.scripts import Script
from ollama_fleet.planner.plan import Release
from ollama_fleet.questions import Answer
from tests.unit.examples import RELEASE, host_plan

DIGEST = RELEASE.sha256["amd64"]
SENT = replace(RELEASE, delivery="controller")


class Host:
    """A host that answers by the names of questions, and keeps what is sent to it."""

    name = "one"

    def __init__(self, connector: object = None, **texts: str) -> None:
        self.texts = {"machine": "x86_64", **texts}
        self.connector = connector
        self.state = SimpleNamespace(current_stage=StateStage.Execute)
        self.said: list[str] = []
        self.got: list[tuple[str, str]] = []
        self.lost: Exception | None = None

    def get_fact(self, fact: type, questions: dict[str, str]) -> dict[str, Answer]:
        return {name: Answer(self.texts.get(name, "")) for name in questions}

    def log(self, text: str) -> None:
        self.said.append(text)

    def log_styled(self, text: str, **style: object) -> None:
        self.said.append(text)

    noop = log

    def put_file(self, source: str, target: str) -> bool:
        if self.lost:
            raise self.lost
        self.got.append((source, target))
        return True


def commands(host: Host, wanted: Release, monkeypatch: pytest.MonkeyPatch) -> list:
    for module in (answers, delivery, release):
        monkeypatch.setattr(module, "host", host)
    memory.forget(host)
    plan = replace(host_plan({"name": "a", "gpus": [0]}), release=wanted)
    return list(release.release_installed._inner(plan=plan))


def text(command: Script) -> str:
    return command.text


def test_a_host_fetches_for_itself_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    started, waited, installed = commands(Host(), RELEASE, monkeypatch)
    assert "ollama-fetch-release" in text(started) and "wait" in text(waited)
    assert "unpacking" in text(installed)


def test_the_controller_fetches_sends_and_then_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    cached, prepared, sent, installed = commands(Host(), SENT, monkeypatch)
    assert cached.args == (RELEASE.url("amd64"), DIGEST)
    assert "install -d -m 0700" in text(prepared)
    assert sent.args[1] == DIGEST and isinstance(sent, FunctionCommand)
    assert f"/opt/ollama/incoming/{DIGEST}" in text(installed)


def test_nothing_is_sent_that_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = commands(Host(archives=DIGEST), SENT, monkeypatch)
    assert "unpacking" in text(only)
    there = {"installed": f"{RELEASE.prefix} {DIGEST}"}
    (only,) = commands(Host(**there), SENT, monkeypatch)
    assert "unpacking" not in text(only) and "switching" in text(only)
    done = {**there, "current": RELEASE.prefix}
    assert commands(Host(**done), SENT, monkeypatch) == []


def test_a_machine_that_is_its_own_controller_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Host(connector=object.__new__(LocalConnector))
    cached, copied, _ = commands(here, SENT, monkeypatch)
    assert isinstance(cached, FunctionCommand) and "cp --reflink=auto" in text(copied)


def test_it_is_sent_without_sudo_to_the_folder_that_is_open_to_the_login_user() -> None:
    host = Host()
    assert delivery._send(None, host, "/cache/x", DIGEST)
    assert host.got == [("/cache/x", f"/opt/ollama/incoming/{DIGEST}")]


@pytest.mark.parametrize("lost", [OSError("Failure"), EOFError()])
def test_a_host_that_takes_no_more_fails_alone_and_in_words(lost: Exception) -> None:
    host = Host()
    host.lost = lost
    assert not delivery._send(None, host, "/cache/x", DIGEST)
    assert "cannot send /cache/x to the host" in host.said[-1]
    assert "Ollama here is unchanged, run again" in host.said[-1]


def test_a_download_that_fails_here_fails_the_host_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ollama_fleet.release.cache.WAIT_S", 0)
    host = Host()
    assert not delivery._cache(None, host, "http://127.0.0.1:9/a", DIGEST)
    assert "cannot download http://127.0.0.1:9/a" in host.said[-1]
