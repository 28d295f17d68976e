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
    """`with SimHost(folder, hardware) as host:` has booted inside the block, with the driver loaded
    where the hardware has one from the start."""

    def __init__(self, folder: Path, hardware: dict[str, Any]) -> None:
        self.hw, self.dev, self.root = folder / "hw", folder / "dev", folder / "root"
        self.socket = folder / "driver.sock"
        self.faults = self.hw / "faults"
        for path in (self.faults, self.dev, self.root):
            path.mkdir(parents=True, exist_ok=True)
        (self.hw / "hardware.json").write_text(json.dumps(hardware))
        self.hardware = hardware
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> SimHost:
        assert self.run("lab-driver", "--prepare").returncode == 0
        self.boot()
        driver = self.hardware.get("driver")
        if driver and self.hardware.get("nvswitch"):
            self.start("nv-fabricmanager", "--built-for", driver["version"])
            wait_until(lambda: self.ask("devices")["driver"]["fabric"] == "Completed")
        return self

    def boot(self) -> None:
        self.driver = self.start("lab-driver")
        wait_until(self._listens)

    def _listens(self) -> bool:
        """Its socket is there a moment before anybody may connect."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def reboot(self) -> None:
        """Nothing but the disk and lab-hw survives."""
        self.driver.terminate()
        self.driver.wait(5)
        self.boot()

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
        places["LAB_ROOT"] = self.root
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

    def install(self, version: str, flavour: str = "open", signed_by: str | None = "dkms") -> None:
        """What a driver's packages leave on the disk: module files and the library."""
        module = {"version": version, "flavour": flavour, "signed_by": signed_by}
        folder = self.root / "lib/modules" / os.uname().release / "updates/dkms"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm"):
            (folder / f"{name}.ko").write_text(json.dumps(module))
        self.install_library(version)

    def install_library(self, version: str) -> None:
        folder = self.root / "usr/lib/x86_64-linux-gnu"
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / "libnvidia-ml.so.1"
        (folder / f"libnvidia-ml.so.{version}").touch()
        link.unlink(missing_ok=True)
        link.symlink_to(f"libnvidia-ml.so.{version}")

    def write(self, path: str, text: str) -> None:
        """A file below the host's root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def loaded(self) -> set[str]:
        """Modules of NVIDIA's, and nouveau."""
        return {path.name for path in (self.hw / "sys-module").iterdir()}

    @property
    def kernel_log(self) -> str:
        path = self.hw / "kernel.log"
        return path.read_text() if path.exists() else ""

    def hold(self, name: str, mib: dict[str, int]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """A process that asks for this memory and keeps it until it ends, and its answer."""
        request = json.dumps({"op": "allocate", "name": name, "mib": mib})
        process = self._spawn(["/usr/bin/python3", "-ISc", HOLDER, str(self.socket), request])
        assert process.stdout
        return process, json.loads(process.stdout.readline())

    def fault(self, name: str, **parameters: Any) -> None:
        new = self.faults / f"{name}.new"
        new.write_text(json.dumps(parameters))
        new.rename(self.faults / f"{name}.json")  # the driver looks whenever it likes

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
