"""The health watch of a host, as a shell runs it: who stands on a slice's port when it is away."""

import getpass
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ollama_fleet.planner.plan import USER
from ollama_fleet.watching import places
from ollama_fleet.watching.health import health_files
from tests.unit.authorities import machines


def gone(tmp_path: Path, slices_user: str, port: int) -> bool:
    """Whether a slice of that user is away, where somebody of ours listens on its port."""
    plan = machines(tmp_path, gateways={"gw1": {"address": "10.0.0.5"}})["one"]["plan"]
    files = {file.path: file.text for file in health_files(plan)}
    (tmp_path / "job").write_text(f"chat {port} -\n")
    text = files[places.HEALTH_SCRIPT].replace(places.HEALTH_JOB, str(tmp_path / "job"))
    text = text.replace(places.HEALTH_DIR, str(tmp_path)).replace(
        f"-u {USER})", f"-u {slices_user})"
    )
    # With a process group of its own, for each slice is watched by a process of the script's.
    process = subprocess.Popen(["sh", "-c", text], start_new_session=True)
    try:
        time.sleep(1)
        return (tmp_path / "chat.gone").exists()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(("slices_user", "is_gone"), [(getpass.getuser(), False), ("nobody", True)])
def test_who_takes_the_port_of_a_slice_that_is_away_gets_no_requests(
    tmp_path: Path, slices_user: str, is_gone: bool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert gone(tmp_path, slices_user, taken.getsockname()[1]) is is_gone
