"""The server's side of a llama-server process: start it, wait for it, end it."""

import json
import select
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .devices import Driver
from .placement import Placement

PROGRAM = Path(__file__).resolve().parents[1] / "llama-server"
POLL_S = 0.05
END_TIMEOUT_S = 5.0
RELEASE_POLLS = 40


class RunnerDiedError(Exception):
    """The process ended before or while it served."""


class ClientGoneError(Exception):
    """The client closed its connection."""


@dataclass
class Runner:
    process: subprocess.Popen[bytes]
    driver: Driver

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_loaded(self, client_gone: Callable[[], bool]) -> bool:
        """Whether the weights ended up on the GPU; a client that leaves ends the load."""
        assert self.process.stdout
        while not select.select([self.process.stdout], [], [], POLL_S)[0]:
            if client_gone():
                self.end()
                raise ClientGoneError
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait(END_TIMEOUT_S)
            raise RunnerDiedError(f"llama-server process has terminated: exit status {code}")
        return bool(json.loads(line)["on_gpu"])

    def end(self) -> None:
        """Kill the process and wait until the driver has its memory back."""
        self.process.kill()
        self.process.wait(END_TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        for _ in range(RELEASE_POLLS):
            if not self.driver.holds(self.process.pid):
                return
            select.select([], [], [], POLL_S)


def start(
    model_path: Path, context: int, parallel: int, placement: Placement, driver: Driver, crash: bool
) -> Runner:
    command = [str(PROGRAM), "--model", str(model_path)]
    command += ["-c", str(context * parallel), "-np", str(parallel)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    orders = {
        "socket": driver.socket_path,
        "nodes": placement.nodes,
        "mib": placement.mib_by_uuid,
        "load_s": placement.load_s,
        "crash": crash,
    }
    assert process.stdin
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    process.stdin.flush()
    return Runner(process, driver)
