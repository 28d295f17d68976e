"""A large file from this machine into a host's store: straight over the connection, from where an
earlier try ended, and with word of how far it is.

pyinfra's own upload goes through /tmp and, on the machine itself, through memory; neither holds a model.
"""

import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from paramiko import SSHException
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import extract_control_arguments, make_unix_command_for_host

from ollama_fleet.claim import LOCK
from ollama_fleet.host.claims import introduction
from ollama_fleet.host.memory import forget
from ollama_fleet.host.scripts import change_script, fail_host
from ollama_fleet.planner.plan import USER

BLOCK_BYTES = 2**20
SAY_EVERY_S = 5.0
# Ours among the exit codes of what receives: somebody else is changing the host.
BUSY = 75

# The service user owns the store: root would follow a link that lies there.
AS_USER = f"setpriv --reuid={USER} --regid={USER} --init-groups"
# Prints where to go on, or that nothing has to come. What is there in its full size is hashed later.
_BEGIN = """
blob={store}/blobs/sha256-{digest} part={store}/custom/.incoming-sha256-{digest}
if [ -f "$blob" ] && echo "{digest}  $blob" | sha256sum --check --status; then
    find {store}/blobs -name sha256-{digest} -printf '%f %s %T@\\n' |
        {as_user} sh -c 'cat >>"$0"' {store}/fetch/sound
    echo there
else
    have=$(stat -c %s "$part" 2>/dev/null || echo 0)
    if [ "$have" -gt {size} ] || {{ [ "$have" -gt 0 ] && ! {as_user} test -w "$part"; }}; then
        {as_user} rm -f "$part"
        have=0
    fi
    free=$(df -PB1 {store} | awk 'END {{ print $4 }}')
    # Ollama writes it anew, by way of a copy.
    lacking=$((3 * {size} - have))
    if [ "$lacking" -gt "$free" ]; then
        says="needs $((lacking / 1000000)) MB, and $((free / 1000000)) MB are free at {store}"
        fail "{name}: $says; make room, or set \\`models: {{path: …}}\\`"
    fi
    echo "from $have"
fi
"""


def begin_step(name: str, digest: str, size: int, store: str) -> str:
    """Shell that prints `there`, or `from` and the byte to go on at."""
    return _BEGIN.format(store=store, digest=digest, size=size, name=name, as_user=AS_USER)


class Receiver(Protocol):
    """A program on a host that takes a file."""

    def take(self, block: bytes) -> None:
        """Give it more. Raises OSError when it has gone."""

    def end(self) -> tuple[int, str]:
        """There is no more: its exit code, and what it said of errors."""


class Upload(PyinfraCommand):
    """Brings a file of this machine beside a host's blobs, where what makes a model of it finds it."""

    def __init__(self, name: str, path: Path, digest: str, store: str) -> None:
        super().__init__()
        self.name, self.path, self.digest, self.store = name, path, digest, store

    def __repr__(self) -> str:
        return f"Upload({self.path})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Whether it is there; what is wrong otherwise is said."""
        forget(host)
        size = self.path.stat().st_size
        begin = begin_step(self.name, self.digest, size, self.store)
        script = f"{introduction(host)}{change_script([begin])}"
        done, output = host.run_shell_command(
            StringCommand("sh", "-s"), **{**connector_arguments, "_stdin": script}
        )
        lines = [line.line for line in output]
        word, _, start = (lines[-1] if lines else "").partition(" ")
        if not done or word not in ("there", "from"):
            return fail_host(state, host, lines or ["the host gave no answer"])
        return word == "there" or self._send(state, host, connector_arguments, int(start), size)

    def _send(self, state: State, host: Host, arguments: Any, start: int, size: int) -> bool:
        part = f"{self.store}/custom/.incoming-sha256-{self.digest}"
        receive = f"flock -n -E {BUSY} {LOCK} {AS_USER} sh -c 'cat >>\"$0\"' {shlex.quote(part)}"
        receiver = _receiver(state, host, receive, arguments)
        if receiver is None:
            said = (
                "files go to hosts over SSH, or to this machine; give an address, or put it there"
            )
            return fail_host(state, host, [f"{self.name}: {said}"])
        try:
            self._stream(host, receiver, start, size)
        except (OSError, SSHException) as error:
            code, said = _end(receiver)
            why = said or str(error)
        else:
            code, said = _end(receiver)
            why = said or f"it ended with {code}"
            if code == 0:
                return True
        if code == BUSY:
            why = "another deploy is changing this host right now; wait for it"
        text = (
            f"{self.name}: {self.path} was not sent whole: {why}; run again, it goes on from there"
        )
        return fail_host(state, host, [text])

    def _stream(self, host: Host, receiver: Receiver, start: int, size: int) -> None:
        sent, said_s, said_bytes = start, time.monotonic(), start
        with self.path.open("rb") as file:
            file.seek(start)
            while block := file.read(BLOCK_BYTES):
                receiver.take(block)
                sent += len(block)
                passed_s = time.monotonic() - said_s
                if passed_s >= SAY_EVERY_S:
                    rate = (sent - said_bytes) / passed_s
                    host.log(f"  {self.name}: {_progress(sent, size, rate)}")
                    said_s, said_bytes = time.monotonic(), sent


def _progress(sent: int, size: int, rate: float) -> str:
    left_s = (size - sent) / rate if rate else 0
    left = f"{left_s:.0f} s" if left_s < 90 else f"{left_s / 60:.0f} min"
    return (
        f"{sent / 1e9:.1f} of {size / 1e9:.1f} GB sent ({100 * sent // size} %), "
        f"{rate / 1e6:.0f} MB/s, {left} left"
    )


def _end(receiver: Receiver) -> tuple[int, str]:
    try:
        return receiver.end()
    except (OSError, SSHException, EOFError) as error:
        return -1, str(error) or "the connection was lost"


def _receiver(state: State, host: Host, command: str, arguments: Any) -> Receiver | None:
    arguments = dict(arguments)
    extract_control_arguments(arguments)
    whole = make_unix_command_for_host(state, host, StringCommand(command), **arguments)
    text = whole.get_raw_value()
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    if transport:
        return _Remote(transport, text)
    return _Local(text) if host.connector_cls.__name__ == "LocalConnector" else None


class _Remote:
    """A program at the other end of the SSH connection."""

    def __init__(self, transport: Any, command: str) -> None:
        self._channel = transport.open_session()
        self._channel.exec_command(command)

    def take(self, block: bytes) -> None:
        self._channel.sendall(block)

    def end(self) -> tuple[int, str]:
        self._channel.shutdown_write()
        said = self._channel.makefile_stderr("rb").read().decode("utf-8", "replace").strip()
        return self._channel.recv_exit_status(), said


class _Local:
    """A program on this machine."""

    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen(
            command, shell=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def take(self, block: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(block)

    def end(self) -> tuple[int, str]:
        _, said = self._process.communicate()
        return self._process.returncode, said.decode("utf-8", "replace").strip()
