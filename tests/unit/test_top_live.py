"""`fleet top` as it is typed, on this very machine and on one that is away: once, live, and cut off."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ollama_fleet.host.streams import WHAT
from tests.unit.test_connected import HERE, ROOT, inventory

AWAY = "gpu02: {address: 127.0.0.1, ssh: {port: 1}, gpus: [{model: RTX 3090}], slices: []}"
FLEET = str(Path(sys.executable).parent / "fleet")


def left(parent: int | None = None) -> list[int]:
    """Processes of the view's program on this machine: those that `parent` started, or all."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if f"# {WHAT}".encode() in words and (parent is None or above == parent):
            found.append(int(folder.name))
    return found


def once(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FLEET, "top", str(path), *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


@dataclass
class Terminal:
    """`fleet top` in a terminal of 24 lines."""

    process: subprocess.Popen[bytes]
    end: int

    def until(self, words: bytes, within_s: float = 40) -> bytes:
        """What it shows, until these words come."""
        found, deadline = b"", time.monotonic() + within_s
        while words not in found:
            assert time.monotonic() < deadline, found[-3000:]
            if select.select([self.end], [], [], 1)[0]:
                found += os.read(self.end, 65536)
        return found


@contextmanager
def terminal(path: Path) -> Iterator[Terminal]:
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [FLEET, "top", str(path)],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
    )
    os.close(inner)
    try:
        yield Terminal(process, outer)
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def test_once_shows_the_machines_that_answer_and_says_which_do_not(tmp_path: Path) -> None:
    path = inventory(tmp_path, f"gpu01: {{{HERE}}}", AWAY)
    done = once(path, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    here, away = json.loads(done.stdout)["machines"]
    assert here["error"] == "" and here["system"]["cpu_percent"] is not None
    assert here["system"]["cpus"] == os.cpu_count() and here["slices"][0]["state"] != "active"
    assert "cannot be reached" in away["error"] and away["gpus"] == []
    text = once(path, "--host", "gpu01")
    assert text.returncode == 0, text.stderr
    assert "gpu01 host" in text.stdout and "gpu02" not in text.stdout and "\x1b" not in text.stdout


def test_a_machine_that_nobody_knows_is_bad_input(tmp_path: Path) -> None:
    done = once(inventory(tmp_path, f"gpu01: {{{HERE}}}"), "--host", "gpu1")
    assert done.returncode == 2 and "gpu01" in done.stderr and "Traceback" not in done.stderr


def test_a_key_ends_it_and_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    with terminal(inventory(tmp_path, f"gpu01: {{{HERE}}}")) as screen:
        screen.until(b"RAM")
        running = left(screen.process.pid)
        assert len(running) == 1
        os.write(screen.end, b"q")
        screen.until(b"\x1b[?1049l")
        assert screen.process.wait(20) == 0
    assert gone(running)


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with terminal(inventory(tmp_path, f"gpu01: {{{HERE}}}")) as screen:
        screen.until(b"RAM")
        screen.process.send_signal(2)
        shown = screen.until(b"\x1b[?1049l")
        assert screen.process.wait(20) == 0
        assert b"Traceback" not in shown


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with terminal(inventory(tmp_path, f"gpu01: {{{HERE}}}")) as screen:
        screen.until(b"RAM")
        running = left(screen.process.pid)
        assert running
        screen.process.kill()
        screen.process.wait()
        assert gone(running)


def gone(processes: list[int], within_s: float = 10) -> bool:
    """Whether they end by themselves in time."""
    deadline = time.monotonic() + within_s
    while set(processes) & set(left()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
