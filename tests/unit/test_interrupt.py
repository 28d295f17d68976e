"""Ctrl-C ends whoever waits, whichever greenlet happens to run when it comes."""

import subprocess
import sys

import pytest

# A thread as paramiko has them gets the signal while the main one waits for something that never comes.
PROGRAM = """
import gevent.monkey
gevent.monkey.patch_all()
import os, signal, threading
from ollama_fleet.host import interrupt, terminal

def works():
    gevent.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100_000):
        pass
    print("goes on", flush=True)

{begins}
threading.Thread(target=works, daemon=True).start()
try:
    threading.Event().wait(20)
except BaseException as error:
    print(f"{{type(error).__name__}} {{error}}".strip())
    gevent.sleep(0.5)
"""
OF_VERIFY = "within = interrupt.interruptible()\nwithin.__enter__()"
OF_A_DEPLOY = "signal.signal(signal.SIGINT, terminal._interrupted)"


@pytest.mark.parametrize(
    ("begins", "ended"), [(OF_VERIFY, "KeyboardInterrupt"), (OF_A_DEPLOY, "SystemExit 130")]
)
def test_ctrl_c_ends_who_waits_and_no_connection(begins: str, ended: str) -> None:
    done = _run(PROGRAM.format(begins=begins))
    assert done.stdout.splitlines() == ["goes on", ended]
    assert "Traceback" not in done.stderr


def test_who_is_to_ignore_it_goes_on() -> None:
    """As after `nohup`, and in the background of a shell."""
    ignored = f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{OF_VERIFY}"
    done = _run(PROGRAM.format(begins=ignored).replace("wait(20)", "wait(1)"))
    assert done.stdout.splitlines() == ["goes on"]


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
