"""Two deploys of one host: the second says who is at work and leaves; one that died is in nobody's way."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import ROOT, Fleet

SMALL = {"name": "small", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]}
OWNER = "/run/ollama-fleet/owner"


@pytest.fixture
def host(fleet: Fleet, lab: Lab) -> Iterator[str]:
    """A bare host that is to get one slice."""
    name = bare(lab, "rm1", "1x-rtx3060")
    fleet.add(name, SMALL)
    yield name


def begin(fleet: Fleet, words: str) -> "subprocess.Popen[str]":
    """A deploy in the background that has come to the line that holds `words`."""
    running = subprocess.Popen(
        fleet.command("-y"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout
    said = []
    for line in running.stdout:
        said.append(line)
        if words in line:
            return running
    raise AssertionError("".join(said))


def kill(running: "subprocess.Popen[str]") -> None:
    running.send_signal(signal.SIGKILL)
    running.wait()


def test_the_second_of_two_deploys_says_who_is_first_and_leaves(fleet: Fleet, host: str) -> None:
    slow = '#!/bin/sh\\nuntil [ -e /run/go-on ]; do sleep 0.2; done\\nexec /usr/bin/zstd "$@"\\n'
    fleet.sh(host, "apt-get -qq update && apt-get -qq install -y curl zstd >/dev/null 2>&1")
    fleet.sh(host, f"printf '{slow}' >/usr/local/bin/zstd && chmod +x /usr/local/bin/zstd")
    others = [
        fleet.command("-y"),
        fleet.command("-y", "--data", "state=absent"),
        fleet.command("--dry"),
    ]
    first = begin(fleet, "unpacking")
    second, removal, look = together(others)
    assert first.poll() is None
    fleet.sh(host, "touch /run/go-on")
    said = first.communicate(timeout=120)[0]
    assert first.returncode == 0, said

    who = f", process {first.pid}, since "
    for code, text in (second, removal):
        assert code == 1 and "Traceback" not in text
        assert "another deploy is changing this host right now: " in text
        assert who in text and "it runs on this machine" in text
    assert not any(word in second[1] for word in ("unpacking", "switching to", "starting ollama"))
    # Whoever only looks is told, and sees what would change.
    assert look[0] == 0 and who in look[1] and "Run one unit per slice" in look[1], look[1]

    third = fleet.deploy()
    assert third.code == 0 and third.changed() == {}


def together(commands: list[list[str]]) -> list[tuple[int, str]]:
    """Run them at the same time; exit codes and what they said."""
    pipe, off = subprocess.PIPE, subprocess.DEVNULL
    running = [
        subprocess.Popen(
            words, cwd=ROOT, stdin=off, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        for words in commands
    ]
    said = [one.communicate(timeout=120)[0] for one in running]
    return [(one.returncode, text) for one, text in zip(running, said, strict=True)]


@pytest.mark.parametrize("words", ["downloading", "unpacking", "starting ollama"])
def test_a_killed_deploy_is_in_nobody_s_way(fleet: Fleet, host: str, words: str) -> None:
    """The next one waits for what the first had begun there, and needs no hand."""
    kill(begin(fleet, words))
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert fleet.deploy().changed() == {}


def test_a_connection_that_outlives_its_run_is_in_nobody_s_way_here_and_is_named_elsewhere(
    fleet: Fleet, host: str
) -> None:
    """As after a cut network: the host's sshd has not noticed yet."""
    running = begin(fleet, "unpacking")
    carrier = fleet.sh(host, f"sed -n 's/^carrier \\([0-9]*\\) .*/\\1/p' {OWNER}")
    claim = fleet.sh(host, f"cat {OWNER}")
    assert fleet.sh(host, f"cat /proc/{carrier}/comm").startswith("sshd")
    fleet.sh(host, f"kill -STOP {carrier}")
    kill(running)
    run = fleet.deploy()
    assert run.code == 0, run.text

    elsewhere = claim.replace("\ncontroller ", "\ncontroller another-")
    fleet.sh(host, f"cat >{OWNER} <<'E'\n{elsewhere}\nE")
    fleet.sh(host, "rm /usr/local/bin/ollama")
    run = fleet.deploy()
    assert run.code == 1 and f"`kill {carrier}` on the host" in run.text
    fleet.sh(
        host,
        f"kill {carrier}; kill -CONT {carrier}; while [ -d /proc/{carrier} ]; do sleep 0.1; done",
    )
    run = fleet.deploy()
    assert run.code == 0 and run.changed() == {"Slices | Run one unit per slice": [host]}
