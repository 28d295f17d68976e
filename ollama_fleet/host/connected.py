"""A fleet's machines with their connections open, for whoever only asks: `fleet verify`, `fleet top`.

    with connected(Path("inventory/prod.yml")) as fleet:
        answers = fleet.ask({"gpu01": {"kernel": "uname -r"}})

Reads the inventory and connects the way a deploy does, changes nothing. A machine that cannot be
reached says why, and the others go on. One exec per machine and `ask`.
"""

from ollama_fleet.host.machines import machines_of, named, read_inventory

# isort: split

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gevent import Timeout
from gevent.pool import Pool
from paramiko import SSHException
from pyinfra.api import Config, Host, State
from pyinfra.api.exceptions import ConnectError, PyinfraError

from ollama_fleet.checks.machine import Machine
from ollama_fleet.host.interrupt import interruptible
from ollama_fleet.host.streams import Said, Stream, StreamError, open_stream, run_script
from ollama_fleet.host.transport import CONNECT_TIMEOUT_S, tune_connection, why_unreached
from ollama_fleet.questions import Answers, question_script, read_answers

__all__ = ["Connected", "Machine", "connected"]

# At once; a jump host takes ten logins at a time, and refused ones are tried again.
PARALLEL = 40
ANSWER_TIMEOUT_S = 60
# sshd may be slow under load, and must not hang.
LOGIN_TIMEOUT_S, OPEN_TIMEOUT_S = 45, 30
NO_PASSWORD = "sudo without a password"
SILENT = "is its login shell a POSIX shell, with no forced command?"


@dataclass
class Connected:
    """Machines by name, why some are not reached (a name is there only while it is not), and `ask`."""

    machines: dict[str, Machine]
    unreached: dict[str, str] = field(default_factory=dict)
    _hosts: dict[str, Host] = field(default_factory=dict)
    _parallel: int = PARALLEL

    def ask(
        self,
        questions: Mapping[str, Mapping[str, str]],
        timeout_s: float | Mapping[str, float] = ANSWER_TIMEOUT_S,
    ) -> dict[str, Answers | str]:
        """Ask machines by name, all at once, each in one exec; why there is no answer as a text.

        One whose connection was lost, or that was not reached, is connected to again first.
        """
        times = timeout_s if isinstance(timeout_s, Mapping) else dict.fromkeys(questions, timeout_s)
        pool = Pool(self._parallel)
        jobs = {
            name: pool.spawn(self._answer, name, asked, times[name])
            for name, asked in questions.items()
        }
        try:
            return {name: job.get() for name, job in jobs.items()}
        finally:
            pool.kill(block=False)

    def stream(self, name: str, program: str) -> Stream:
        """Start a program that stays on a machine and answers words; connects first where it has to.

        Raises StreamError.
        """
        if not self._hosts[name].connected and not self._connect(name):
            raise StreamError(self.unreached[name])
        try:
            with Timeout(OPEN_TIMEOUT_S):
                return open_stream(self._hosts[name], program)
        except Timeout:
            raise StreamError(f"its sshd starts nothing within {OPEN_TIMEOUT_S} s") from None

    def drop(self, name: str) -> None:
        """Give up a connection that is good for nothing any more; the next question makes a new one."""
        self._drop(name)

    def connect(self) -> None:
        """Connect to all machines at once, and note which cannot be reached."""
        pool = Pool(self._parallel)
        try:
            for job in [pool.spawn(self._connect, name) for name in self.machines]:
                job.get()
        finally:
            pool.kill(block=False)

    def close(self) -> None:
        """End all connections."""
        for name in self._hosts:
            self._drop(name)

    def _connect(self, name: str) -> bool:
        host = self._hosts[name]
        try:
            with Timeout(LOGIN_TIMEOUT_S):  # no Exception, which pyinfra would take and try again
                host.connect(show_errors=False, raise_exceptions=True)
            tune_connection(host)
        except Timeout:
            self.unreached[name] = why_unreached(f"no login within {LOGIN_TIMEOUT_S} s")
            self._drop(name)
            return False
        except (ConnectError, PyinfraError, SSHException, OSError, EOFError) as error:
            self.unreached[name] = why_unreached(str(error))
            self._drop(name)
            return False
        self.unreached.pop(name, None)
        return True

    def _drop(self, name: str) -> None:
        """pyinfra's `disconnect` leaves paramiko's client open."""
        host = self._hosts[name]
        client = getattr(host.connector, "client", None)
        with suppress(Exception):
            if client:
                client.close()
        host.connected = False

    def _answer(self, name: str, asked: Mapping[str, str], timeout_s: float) -> Answers | str:
        if not asked:
            return {}
        if not self._hosts[name].connected and not self._connect(name):
            return self.unreached[name]
        try:
            with Timeout(timeout_s):
                said = run_script(self._hosts[name], question_script(asked), timeout_s)
            return _answers(said)
        except (Timeout, TimeoutError):
            why = f"no answer within {timeout_s:g} s; does `nvidia-smi` hang there?"
        except StreamError as error:
            why = str(error)
        except ValueError as error:
            if not self._is_lost(name):
                return str(error)
            why = "its connection was lost"
        self._drop(name)
        return why

    def _is_lost(self, name: str) -> bool:
        client = getattr(self._hosts[name].connector, "client", None)
        transport = client.get_transport() if client else None
        return client is not None and not (transport and transport.is_active())


@contextmanager
def connected(
    inventory: Path, limit: Sequence[str] = (), parallel: int = PARALLEL
) -> Generator[Connected, None, None]:
    """The machines of an inventory (all, or those that `limit` names), connected to.

    Raises InputError before anything is connected to.
    """
    # It prints a traceback for each host that hangs or speaks no SSH; `unreached` says why in words.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    read = read_inventory(inventory)
    found = [(machine, host) for machine, host in machines_of(read)]
    named([machine.name for machine, _ in found], limit)
    settings = Config(CONNECT_TIMEOUT=CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
    State(read, settings)  # gives each host its connector
    meant = {m.name: (m, host) for m, host in found if not limit or m.name in limit}
    fleet = Connected(
        {name: machine for name, (machine, _) in meant.items()},
        _hosts={name: host for name, (_, host) in meant.items()},
        _parallel=parallel,
    )
    try:
        with interruptible():
            fleet.connect()
            yield fleet
    finally:
        fleet.close()


def _answers(said: Said) -> Answers:
    """What a script's output answers. Raises ValueError that says why there is nothing."""
    try:
        return read_answers(said.lines)
    except ValueError as error:
        words = said.last_words or f"{error}; {SILENT}"
        raise ValueError(f"{words}; it needs {NO_PASSWORD}" if "sudo" in words else words) from None
