"""What a person types on a host: the commands run in sh, with an ollama that says what it was called with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ollama_fleet import client
from tests.unit.examples import host_plan

CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:8b", "nomic-embed-text"]}
CODE = {"name": "code", "gpus": [1], "default": True}
# Knows one model.
PROGRAM = """#!/bin/sh
case "$1 $2" in
"show "*) [ "$2" = qwen3:8b ]; exit ;;
"list ") [ -z "$DOWN" ] || exit 1; printf 'NAME ID\\nqwen3:8b ab\\n'; exit ;;
esac
echo "${OLLAMA_HOST:-nowhere} HOME=$HOME $*"
[ "$3" != - ] || cat
"""


class Shell:
    """The files of a host, below a folder."""

    def __init__(self, folder: Path, *slices: dict) -> None:
        self.folder = folder
        for file in client.files(host_plan(*slices)):
            path = self.path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.moved(file.text))
            path.chmod(int(file.mode, 8))
        program = self.path(client.PROGRAM)
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
        systemctl = self.path("/bin/systemctl")
        systemctl.parent.mkdir()
        systemctl.write_text("#!/bin/sh\necho active\n")
        systemctl.chmod(0o755)

    def path(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def moved(self, text: str) -> str:
        places = (client.SLICES_FILE, client.CLIENT, client.PROGRAM)
        for place in places:
            text = text.replace(place, str(self.path(place)))
        return text

    def run(
        self, command: str, *words: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        shell = shutil.which("dash") or "sh"
        return subprocess.run(
            [shell, str(self.path(command)), *words],
            input=stdin,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            timeout=20,
        )

    def said(self, command: str, *words: str, **more: str) -> str:
        done = self.run(command, *words, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, CHAT, CODE)


def test_ollama_means_the_default_slice_unless_told_otherwise(shell: Shell) -> None:
    assert shell.said(client.COMMAND, "ps", HOME="/root") == "127.0.0.1:11435 HOME=/root ps"
    elsewhere = shell.said(client.COMMAND, "ps", OLLAMA_HOST="far:1", HOME="/root")
    assert elsewhere == "far:1 HOME=/root ps"


def test_ollama_works_where_nothing_is_set(shell: Shell) -> None:
    """As in a service: without a home the real one does not start at all."""
    assert shell.said(client.COMMAND, "ps") == "127.0.0.1:11435 HOME=/ ps"


def test_each_slice_is_asked_by_its_name(shell: Shell) -> None:
    words = ("chat", "run", "qwen3:8b", "two words")
    assert shell.said(client.SLICE_COMMAND, *words).startswith("127.0.0.1:11434 ")
    assert shell.said(client.SLICE_COMMAND, *words).endswith(" run qwen3:8b two words")
    # A client that exports its own address, as a login shell does.
    set_already = shell.said(client.SLICE_COMMAND, "chat", "ps", OLLAMA_HOST="127.0.0.1:11435")
    assert set_already.startswith("127.0.0.1:11434 ")


def test_what_is_piped_in_reaches_the_model(shell: Shell) -> None:
    said = shell.run(client.SLICE_COMMAND, "chat", "run", "qwen3:8b", "-", stdin="the prompt")
    assert said.stdout.endswith("the prompt"), said


def test_without_arguments_the_slices_are_listed(shell: Shell) -> None:
    rows = [line.split() for line in shell.said(client.SLICE_COMMAND).splitlines()]
    assert rows[:3] == [
        ["SLICE", "PORT", "STATE", "MODELS"],
        ["chat", "11434", "active", "qwen3:8b,nomic-embed-text:latest"],
        ["code", "11435", "active,default", "-"],
    ]


def test_an_unknown_slice_is_told_which_there_are(shell: Shell) -> None:
    done = shell.run(client.SLICE_COMMAND, "caht", "ps")
    assert done.returncode == 2 and done.stdout == ""
    assert "no slice 'caht' on this host" in done.stderr and "code   11435" in done.stderr


@pytest.mark.parametrize("verb", ["pull", "push", "create", "cp", "rm", "serve"])
def test_what_no_slice_can_do_is_said_beforehand(shell: Shell, verb: str) -> None:
    done = shell.run(client.COMMAND, verb, "qwen3:8b")
    assert done.returncode == 1 and done.stdout == ""
    assert "inventory" in done.stderr or "systemctl status ollama-code" in done.stderr
    # Another server is none of our business.
    there = shell.said(client.COMMAND, verb, "qwen3:8b", OLLAMA_HOST="gpu02:11434")
    assert there.startswith("gpu02:11434 ")


def test_a_model_that_is_not_there_is_not_pulled_by_run(shell: Shell) -> None:
    done = shell.run(client.COMMAND, "run", "llama3:70b", "hello")
    assert done.returncode == 1
    assert "'llama3:70b' is not in the model store of this host; there are: qwen3:8b" in done.stderr
    assert "`models:` of a slice in the inventory, and deploy" in done.stderr


def test_a_server_that_is_down_is_told_in_ollama_s_own_words(shell: Shell) -> None:
    assert "run llama3:70b" in shell.said(client.COMMAND, "run", "llama3:70b", DOWN="yes")


def test_a_login_shell_has_the_default_for_other_clients(shell: Shell) -> None:
    profile = shell.path(client.PROFILE)
    ask = f'. {profile}; echo "$OLLAMA_HOST"'
    for before, after in ((None, "127.0.0.1:11435"), ("far:1", "far:1")):
        env = {"OLLAMA_HOST": before} if before else {}
        done = subprocess.run(["sh", "-euc", ask], env=env, capture_output=True, text=True)
        assert done.stdout.strip() == after, done.stderr


def test_a_host_without_slices_has_no_default(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert not shell.path(client.PROFILE).exists()
    assert shell.said(client.COMMAND, "pull", "x", HOME="/h") == "nowhere HOME=/h pull x"
