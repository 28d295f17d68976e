"""Questions to one host that is in no inventory yet: over the user's own ssh, or on this machine.

One login, one script on standard input, nothing left behind. Knows no pyinfra.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ollama_fleet.cli.ending import BadOptionError, HostError
from ollama_fleet.questions import Answers, question_script, read_answers

LOCAL = "@local"
CONNECT_TIMEOUT_S = 10
# nvidia-smi takes up to half a minute on a host whose driver is not kept loaded.
ANSWER_TIMEOUT_S = 60
SSH_FAILED = 255


@dataclass(frozen=True)
class Spoken:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Login:
    """How a host is reached: the keys of an inventory's `ssh:`, and the host's address."""

    address: str
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    known_hosts: Path | None = None
    sudo: bool = False

    @property
    def local(self) -> bool:
        """This machine, without ssh."""
        return self.address == LOCAL


def login(
    host: str,
    user: str | None,
    port: int | None,
    key: Path | None,
    known_hosts: Path | None,
    sudo: bool,
) -> Login:
    """A checked login; `user@host` is taken apart. Raises BadOptionError."""
    name, _, address = host.rpartition("@") if host != LOCAL else ("", "", host)
    if not address or address.startswith("-") or any(c.isspace() for c in address):
        raise BadOptionError(f"'{host}' is no host; give a name, an address or @local")
    if port is not None and not 1 <= port <= 65535:
        raise BadOptionError(f"--port is 1 to 65535, not {port}")
    for option, path in (("--key", key), ("--known-hosts", known_hosts)):
        if path is not None and not path.is_file():
            raise BadOptionError(f"{option}: {path} is no file")
    return Login(address, user or name or None, port, key, known_hosts, sudo)


def ask(to: Login, questions: Mapping[str, str]) -> Answers:
    """Answers of a host. Raises HostError that says why there are none."""
    said = run_command(command(to), question_script(questions))
    if said.code == SSH_FAILED and not to.local:
        raise HostError(_no_login(to, said.err))
    try:
        return read_answers(said.out.splitlines())
    except ValueError as error:
        reason = _last_line(said.err) or str(error)
        if "sudo" in reason:
            reason += "; --sudo needs sudo without a password"
        raise HostError(f"{to.address}: {reason}") from None


def command(to: Login) -> list[str]:
    """The command that runs a shell script from standard input there."""
    shell = ["sudo", "-n", "sh", "-s"] if to.sudo else ["sh", "-s"]
    if to.local:
        return shell
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
    if to.known_hosts:
        options += ["-o", f"UserKnownHostsFile={to.known_hosts}"]
    if to.key:
        options += ["-o", "IdentitiesOnly=yes", "-i", str(to.key)]
    if to.user:
        options += ["-l", to.user]
    if to.port:
        options += ["-p", str(to.port)]
    return ["ssh", *options, "--", to.address, *shell]


def run_command(words: list[str], script: str) -> Spoken:
    """Run a command with a script on its standard input. Raises HostError."""
    try:
        done = subprocess.run(
            words,
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise HostError(f"{words[0]} is not installed on this machine") from None
    except subprocess.TimeoutExpired:
        waited = f"no answer within {ANSWER_TIMEOUT_S} s"
        raise HostError(f"{waited}; does `nvidia-smi` hang there?") from None
    return Spoken(done.returncode, done.stdout, done.stderr)


# What ssh says, and what to do about it.
SSH_TROUBLE = {
    "Host key verification failed": "log in once with ssh, so that its key is known, or give "
    "--known-hosts",
    "Permission denied": "give --user and --key, or load the key into your agent",
    "Could not resolve hostname": "is the name right?",
    "Connection refused": "does sshd run there, on that port?",
    "timed out": "is it up, and is the address right?",
    "No route to host": "is it up, and is the address right?",
}


def _no_login(to: Login, err: str) -> str:
    said = _last_line(err) or "ssh failed without a word"
    advice = next(
        (todo for words, todo in SSH_TROUBLE.items() if words in err), "try it with ssh -v"
    )
    return f"{to.address} cannot be asked: {said}; {advice}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
