"""A simulated driver beside the real machine, for tests: own hardware, nodes and socket.

Runs the very programs that a lab host runs; imports nothing else of the lab.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent
HOLDER = """
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\n"); print(s.recv(65536).decode(), flush=True); time.sleep(60)
"""


class SimHost:
    """`with SimHost(folder, hardware) as host:` has a loaded driver inside the block."""

    def __init__(self, folder: Path, hardware: dict[str, Any]) -> None:
        self.hw, self.dev = folder / "hw", folder / "dev"
        self.socket = folder / "driver.sock"
        self.faults = self.hw / "faults"
        for path in (self.faults, self.dev):
            path.mkdir(parents=True, exist_ok=True)
        (self.hw / "hardware.json").write_text(json.dumps(hardware))
        self.hardware = hardware
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> SimHost:
        self.driver = self.start("lab-driver")
        wait_until(self.socket.exists)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(5)
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    @property
    def env(self) -> dict[str, str]:
        places = {"LAB_HW": self.hw, "LAB_DEV": self.dev, "LAB_DRIVER_SOCKET": self.socket}
        return {**os.environ, **{name: str(path) for name, path in places.items()}}

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAMS / program), *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=10)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        return self._spawn([str(PROGRAMS / program), *arguments])

    def smi(self, *arguments: str) -> str:
        """Output of an nvidia-smi that must succeed."""
        result = self.run("nvidia-smi", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def query(self, fields: str, *more: str) -> list[list[str]]:
        text = self.smi(f"--query-gpu={fields}", "--format=csv,noheader,nounits", *more)
        return [line.split(", ") for line in text.splitlines()]

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """One request from this very process."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.socket))
            sock.sendall(json.dumps({"op": op, **request}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(sock.makefile().readline())
        return answer

    def hold(self, name: str, mib: dict[str, int]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """A process that asks for this memory and keeps it until it ends, and its answer."""
        request = json.dumps({"op": "allocate", "name": name, "mib": mib})
        process = self._spawn(["/usr/bin/python3", "-ISc", HOLDER, str(self.socket), request])
        assert process.stdout
        return process, json.loads(process.stdout.readline())

    def fault(self, name: str, **parameters: Any) -> None:
        (self.faults / f"{name}.json").write_text(json.dumps(parameters))

    def heal(self, name: str) -> None:
        (self.faults / f"{name}.json").unlink()

    def nodes(self) -> set[str]:
        return {path.name for path in self.dev.iterdir()}

    def _spawn(self, command: list[str]) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=self.env, text=True, **pipes)  # type: ignore[call-overload]
        self._processes.append(process)
        return process  # type: ignore[no-any-return]


def wait_until(true: Callable[[], bool], limit_s: float = 3.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.01)
