"""Slices leave service without cutting a request off, and come back."""

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ollama_fleet.draining import PENDING_DIR, drain, resume

PRELUDE = 'set -eu\nsay() { echo "$*"; }\n'
# Keeps the state of each unit in a file of its name.
SYSTEMCTL = """#!/bin/sh
cd "$STATES"
verb=$1; shift
case $verb in
show) for unit; do :; done; cat "$unit" 2>/dev/null || echo inactive ;;
stop) echo "stop $*" >>log; for unit; do echo inactive >"$unit"; done ;;
start) echo "start $*" >>log; [ ! -e broken ] || exit 1; for unit; do echo active >"$unit"; done ;;
is-active) for unit; do :; done; [ "$(cat "$unit" 2>/dev/null)" = active ] ;;
esac
"""


class Host:
    """A stand-in for systemd: states of units as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pending = folder / "restart"
        for name, text in {
            "systemctl": SYSTEMCTL,
            "journalctl": "#!/bin/sh\necho a journal line\n",
        }.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def set(self, **states: str) -> None:
        for unit, state in states.items():
            (self.folder / unit).write_text(f"{state}\n")

    def run(self, steps: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("dash") or "sh", "-s"],
            input=PRELUDE + steps.replace(PENDING_DIR, str(self.pending)),
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "STATES": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def announced(self) -> list[str]:
        return sorted(path.name for path in self.pending.iterdir()) if self.pending.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_running_slice_is_stopped_and_announced(machine: Host) -> None:
    machine.set(a="active", b="inactive")
    done = machine.run(drain(["a", "b", "c"], [65001], timeout_s=5))
    assert done.returncode == 0, done.stderr
    # Whoever only loads its models ahead is not waited for.
    assert machine.log == "stop ollama-warm-a\nstop a\n"
    assert machine.announced == ["a"]


def test_nothing_runs_nothing_happens(machine: Host) -> None:
    done = machine.run(drain(["a"], [65001], timeout_s=5))
    assert (done.returncode, done.stdout, machine.log) == (0, "", "")
    assert machine.announced == []


def test_a_request_that_runs_is_waited_for(machine: Host) -> None:
    machine.set(a="active")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        ended = []

        def finish() -> None:
            time.sleep(1.2)
            ended.append(machine.log)
            client.close()
            accepted.close()

        threading.Thread(target=finish).start()
        done = machine.run(drain(["a"], [port], timeout_s=15))
    assert done.returncode == 0, done.stderr
    assert ended == ["stop ollama-warm-a\n"]  # not stopped while the request ran
    assert machine.log == "stop ollama-warm-a\nstop a\n"
    assert "cut" not in done.stdout


def test_a_request_that_never_ends_is_cut_in_the_end(machine: Host) -> None:
    machine.set(a="active")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            done = machine.run(drain(["a"], [port], timeout_s=1))
    assert "1 connections are still open after 1 s" in done.stdout
    assert machine.log == "stop ollama-warm-a\nstop a\n"


def test_another_port_is_no_reason_to_wait(machine: Host) -> None:
    machine.set(a="active")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            done = machine.run(drain(["a"], [port + 1 if port < 65535 else 1], timeout_s=15))
    assert "still open" not in done.stdout
    assert machine.log == "stop ollama-warm-a\nstop a\n"


def test_only_what_was_stopped_is_started_again(machine: Host) -> None:
    machine.set(a="active", b="inactive")
    machine.run(drain(["a", "b"], [65001], timeout_s=5))
    done = machine.run(resume(["a", "b"]))
    assert done.returncode == 0, done.stderr
    assert machine.log == "stop ollama-warm-a\nstop a\nstart a\n"
    assert machine.announced == []


def test_a_slice_that_does_not_start_says_why_and_stays_announced(machine: Host) -> None:
    machine.set(a="active", broken="yes")
    machine.run(drain(["a"], [65001], timeout_s=5))
    done = machine.run(resume(["a"]))
    assert done.returncode == 1
    assert "a does not start" in done.stderr and "a journal line" in done.stderr
    assert machine.announced == ["a"]


def test_no_units_need_no_shell() -> None:
    assert drain([], [], 5) == resume([]) == ""
