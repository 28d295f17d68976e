"""The health watch of a host, as a shell runs it: who stands on a slice's port when it is away, and how long
a slice may take that has others to serve."""

import getpass
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.planner.plan import USER
from ollama_fleet.watching import places
from ollama_fleet.watching.health import health_files
from tests.unit.authorities import machines

TIMEOUT_S = 4


@contextmanager
def watched(tmp_path: Path, slices_user: str, port: int, how: str = "-") -> Iterator[None]:
    """The watch over one slice, with its files in a folder of the test's."""
    health = {"every_s": 1, "timeout_s": TIMEOUT_S, "busy_timeout_s": 60}
    gateways = {"gw1": {"address": "10.0.0.5"}}
    plan = machines(tmp_path, gateways=gateways, health=health)["one"]["plan"]
    files = {file.path: file.text for file in health_files(plan)}
    (tmp_path / "job").write_text(f"chat {port} {how}\n")
    text = files[places.HEALTH_SCRIPT].replace(places.HEALTH_JOB, str(tmp_path / "job"))
    text = text.replace(places.HEALTH_DIR, str(tmp_path)).replace(
        f"-u {USER})", f"-u {slices_user})"
    )
    # With a process group of its own, for each slice is watched by a process of the script's.
    process = subprocess.Popen(["sh", "-c", text], start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize(("slices_user", "is_gone"), [(getpass.getuser(), False), ("nobody", True)])
def test_who_takes_the_port_of_a_slice_that_is_away_gets_no_requests(
    tmp_path: Path, slices_user: str, is_gone: bool
) -> None:
    mark = tmp_path / "chat.gone"
    if not is_gone:
        mark.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with watched(tmp_path, slices_user, taken.getsockname()[1]):
            until(lambda: mark.exists() is is_gone)


class Slice(BaseHTTPRequestHandler):
    """Serves one request at a time: who wants many tokens has it for long. A token takes a while."""

    turn = threading.Lock()
    long_s, token_s = TIMEOUT_S + 2.0, 2.0

    def do_GET(self) -> None:
        self._say({"models": [{"name": "m", "size_vram": 5}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_short = asked["options"]["num_predict"] == 1
        with self.turn:
            time.sleep(self.token_s if is_short else self.long_s)
        self._say({"done": True})

    def _say(self, what: dict[str, Any]) -> None:
        body = json.dumps(what, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def slice_of(server: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_address[1]
        serving.shutdown()


def looked(tmp_path: Path) -> list[str]:
    """The last look, its state first; nothing before there was one."""
    path = tmp_path / "chat.look"
    return path.read_text().split() if path.exists() else []


def test_a_slice_that_served_somebody_for_long_has_its_own_time_to_answer_the_watch(
    tmp_path: Path,
) -> None:
    """The watch waits behind a request; when that has ended nobody has been silent yet."""
    body = json.dumps({"model": "m", "options": {"num_predict": 100}}).encode()
    with slice_of(Slice) as port:
        url = f"http://127.0.0.1:{port}/api/generate"
        client = threading.Thread(target=lambda: urllib.request.urlopen(url, body).read())
        client.start()
        until(Slice.turn.locked)
        with watched(tmp_path, getpass.getuser(), port, "ask"):
            until(lambda: bool(looked(tmp_path)))
        client.join()
    state, began, ended, *_ = looked(tmp_path)
    assert state == "well" and not (tmp_path / "chat.down").exists()
    assert int(ended) - int(began) > TIMEOUT_S


def test_a_slice_that_serves_nobody_and_does_not_answer_hangs(tmp_path: Path) -> None:
    class Hanging(Slice):
        token_s = 30.0

    with slice_of(Hanging) as port, watched(tmp_path, getpass.getuser(), port, "ask"):
        until(lambda: bool(looked(tmp_path)))
        state, _, _, cause = looked(tmp_path)
        assert (state, cause) == ("down", "hung")
        assert (tmp_path / "chat.down").read_text() == f"no token within {TIMEOUT_S} s\n"
