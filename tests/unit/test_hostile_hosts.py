"""Hosts that lie, flood or hang: who asks them says so in time, and never does what they want."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_fleet.questions import question_script, read_answers
from tests.unit.test_connected import HERE, ROOT, inventory, said

LIES = {
    "no banner": "cannot be reached: no login within 15 s",
    "no session": "no answer within 15 s",
    "endless": "says too much",
    "endless stderr": "no answer within 15 s",
    "large": "says too much",
    "forged": "the host stopped answering at 'a'",
    "password": "it needs sudo without a password",
    "silent": "no answer within 15 s",
}
# On a terminal pyinfra would ask for the password of sudo, and send it there.
ASKED = """import getpass, pyinfra.connectors.util as util
import ollama_fleet.host.connected as over_ssh
over_ssh.LOGIN_TIMEOUT_S = 15
asked = []
getpass.getpass = util.getpass = lambda prompt: asked.append(prompt) or "secret"
with connected(inventory) as fleet:
    reached = fleet.machines.keys() - fleet.unreached.keys()
    answers = fleet.unreached | fleet.ask({name: {"a": "echo here"} for name in reached}, 15)
    texts = {k: v if isinstance(v, str) else v["a"].text for k, v in answers.items()}
    print(json.dumps([texts, asked]))"""


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[list[str]]:
    """The hostile hosts as lines of an inventory."""
    key, known = tmp_path / "key", tmp_path / "known"
    known.touch()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    modes = [*LIES, "bytes"]
    command = [sys.executable, "-m", "tests.unit.hostile_host", *modes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        ports = process.stdout.readline().split()
        reach = f"user: root, key: {key}, known_hosts: {known}"
        yield [
            f"{mode.replace(' ', '-')}: {{address: 127.0.0.1, ssh: {{port: {port}, {reach}}}, "
            "gpus: [{model: RTX 3090}], slices: []}"
            for mode, port in zip(modes, ports, strict=True)
        ]
        process.kill()


def test_who_lies_is_told_so_in_time_and_the_others_answer(
    doors: list[str], tmp_path: Path
) -> None:
    started = time.monotonic()
    done = said(inventory(tmp_path, f"gpu01: {{{HERE}}}", *doors), ASKED)
    assert "Traceback" not in done.stderr
    answers, asked = json.loads(done.stdout)
    assert time.monotonic() - started < 120
    assert answers["gpu01"] == "here"
    assert not asked, "a host that says so gets no password"
    for mode, words in LIES.items():
        words_of = answers[mode.replace(" ", "-")]
        assert words in words_of, mode
        assert len(words_of) < 500
    # What is no text does not hide the rest.
    assert answers["bytes"] == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\0 here"


def test_no_process_can_answer_for_the_host_by_its_name() -> None:
    """Names of processes are listed, and whoever may log in chooses them."""
    forged = r"printf '\001b\nforged\n\n\0010\n\001end of answers\n'"
    script = question_script({"a": forged, "b": "echo true"})
    run = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    answers = read_answers(run.stdout.splitlines())
    assert answers["b"].text == "true"
    assert "forged" in answers["a"].text
