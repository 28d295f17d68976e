"""A program that stays on a machine and answers whenever it is told a word, over a connection that is open.

    stream = open_stream(host, program)
    lines = stream.ask("quick", END, timeout_s=20)
    said = run_script(host, "uname -r", timeout_s=20)     # once, to its end

Not by pyinfra's own way of running a command, which keeps all that a host says, wants it to be text, and
asks the user for a password when the host says that sudo needs one. A program that stays costs no login and
no new shell for each answer; it ends with its standard input, so with the connection, whoever cut it.
"""

import os
import select
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from paramiko import Channel, SSHException
from pyinfra.api import Host, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.connectors.util import make_unix_command_for_host
from pyinfra.context import ctx_host, ctx_state

# Of one answer; a program that says more is not ours.
MOST_BYTES = 8 * 1024 * 1024
# How the host's list of processes calls it.
WHAT = "fleet top"
# What says how to run a command, and nothing of the command itself.
NOT_OF_A_COMMAND = {"_stdin", "_timeout", "_get_pty", "_success_exit_codes"}


class StreamError(Exception):
    """A machine that does not answer any more; says why."""


class SilentError(StreamError):
    """A machine that is there and says nothing, for something on it hangs."""


class Pipe(Protocol):
    """Both ends of a running program. Reading gives b"" at its end and raises TimeoutError."""

    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def read(self, timeout_s: float) -> bytes: ...
    def last_words(self) -> str: ...
    def close(self) -> None: ...


@dataclass
class Stream:
    """A running program; `ask` is for one caller at a time."""

    pipe: Pipe

    def ask(self, word: str, end: str, timeout_s: float) -> list[str]:
        """The lines that it prints for a word, up to the line `end`. Raises StreamError, SilentError."""
        try:
            self.pipe.write(f"{word}\n".encode())
            return self._read_until(f"\n{end}\n".encode(), time.monotonic() + timeout_s)
        except TimeoutError:
            why = f"no answer within {timeout_s:g} s; does `nvidia-smi` hang there?"
            raise SilentError(why) from None
        except (EOFError, OSError, SSHException) as error:
            words = self.pipe.last_words() or str(error) or "it was closed"
            raise StreamError(f"its connection was lost ({words})") from None

    def close(self) -> None:
        """End the program."""
        with suppress(Exception):
            self.pipe.close()

    def _read_until(self, end: bytes, deadline: float) -> list[str]:
        found = bytearray()
        while not found.endswith(end):
            data = self.pipe.read(max(0.0, deadline - time.monotonic()))
            if not data:
                raise EOFError
            found += data
            if len(found) > MOST_BYTES:
                raise EOFError("it says too much")
        return found.decode("utf-8", "replace").split("\n")


@dataclass(frozen=True)
class Said:
    """What a script printed, and the last line of what it complained of."""

    lines: list[str]
    last_words: str


def run_script(host: Host, script: str, timeout_s: float) -> Said:
    """Run a shell script on a machine that is connected to. Raises StreamError, TimeoutError."""
    pipe = _opened(host, _command(host, "sh -s"))
    deadline = time.monotonic() + timeout_s
    try:
        with suppress(OSError, SSHException):  # it reads no more, and says why
            pipe.write(script.encode())
            pipe.end()
        if time.monotonic() > deadline:
            raise TimeoutError
        found = bytearray()
        while data := pipe.read(max(0.0, deadline - time.monotonic())):
            found += data
            if len(found) > MOST_BYTES:
                raise StreamError(f"it says too much: more than {MOST_BYTES >> 20} MiB")
        return Said(found.decode("utf-8", "replace").split("\n"), pipe.last_words())
    except (EOFError, SSHException) as error:
        raise StreamError(f"its connection was lost ({error or type(error).__name__})") from None
    finally:
        with suppress(Exception):
            pipe.close()


def open_stream(host: Host, program: str) -> Stream:
    """Start a shell program on a machine that is connected to. Raises StreamError.

    It comes by its own standard input: a list of processes is no place for pages of shell.
    """
    text = program.encode()
    pipe = _opened(host, _command(host, f'eval "$(head -c {len(text)})" # {WHAT}'))
    try:
        pipe.write(text)
    except (SSHException, OSError, EOFError) as error:
        raise StreamError(f"its connection was lost ({error or type(error).__name__})") from None
    return Stream(pipe)


def _opened(host: Host, command: str) -> Pipe:
    client = getattr(host.connector, "client", None)
    try:
        if client:
            return _Channel(client.get_transport().open_session(), command)
        if host.name.startswith("@local"):
            return _Local(command)
    except TimeoutError:
        raise
    except (SSHException, OSError, EOFError, AttributeError) as error:
        raise StreamError(f"its connection was lost ({error or type(error).__name__})") from None
    raise StreamError("it is reached neither by ssh nor locally, so nothing can be asked there")


def _command(host: Host, program: str) -> str:
    """`program` as pyinfra would run it there: with sudo, where the inventory says so."""
    with ctx_state.use(host.state), ctx_host.use(host):
        every, _ = pop_global_arguments(host.state, host, {})
        keys = set(CONNECTOR_ARGUMENT_KEYS) - NOT_OF_A_COMMAND
        arguments: Any = {key: value for key, value in every.items() if key in keys}
        made = make_unix_command_for_host(host.state, host, StringCommand(program), **arguments)
    return str(made.get_raw_value())


class _Channel:
    def __init__(self, channel: Channel, command: str) -> None:
        self.channel = channel
        channel.exec_command(command)

    def write(self, data: bytes) -> None:
        self.channel.sendall(data)

    def end(self) -> None:
        self.channel.shutdown_write()

    def read(self, timeout_s: float) -> bytes:
        self.channel.settimeout(timeout_s)
        return self.channel.recv(65536)

    def last_words(self) -> str:
        found = b""
        with suppress(Exception):
            self.channel.settimeout(1)
            found = self.channel.recv_stderr(4096)
        return _last_line(found)

    def close(self) -> None:
        self.channel.close()


class _Local:
    def __init__(self, command: str) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us
        )

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def read(self, timeout_s: float) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], timeout_s)[0]:
            raise TimeoutError
        return os.read(self.process.stdout.fileno(), 65536)

    def last_words(self) -> str:
        stderr = self.process.stderr
        ready = stderr and select.select([stderr], [], [], 1)[0]
        return _last_line(os.read(stderr.fileno(), 4096) if stderr and ready else b"")

    def close(self) -> None:
        for end in (self.process.stdin, self.process.stdout, self.process.stderr):
            if end:
                end.close()


def _last_line(data: bytes) -> str:
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "")
