"""Machines asked through testinfra: one command per machine, over ssh as the inventory says, or here."""

import base64
import os
import shlex
import signal
import subprocess
from typing import Any

import testinfra

from ollama_fleet.checks.machine import Machine
from ollama_fleet.questions import Answers, question_script, read_answers

# The kernel's limit for one argument, and ssh has the whole command in one.
LONGEST = 120_000
CONNECT_TIMEOUT_S = 10


def testinfra_host(machine: Machine) -> Any:
    """testinfra's host for a machine, with the keys of the inventory's `ssh:`."""
    reach = dict(machine.reach)
    sudo = bool(reach.get("_sudo"))
    if machine.local:
        return testinfra.get_host("local://", sudo=sudo)
    user = f"{reach['ssh_user']}@" if "ssh_user" in reach else ""
    port = f":{reach['ssh_port']}" if "ssh_port" in reach else ""
    address = str(reach.get("ssh_hostname", machine.name))
    shown = f"[{address}]" if ":" in address else address
    return testinfra.get_host(
        f"ssh://{user}{shown}{port}",
        sudo=sudo,
        controlpersist=0,
        ssh_identity_file=reach.get("ssh_key"),
        ssh_extra_args=" ".join(map(shlex.quote, _options(reach))),
    )


def _options(reach: dict[str, Any]) -> list[str]:
    """A host key is accepted on first sight, as a deploy does; nothing waits for a person."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=accept-new", "ServerAliveInterval=15"]
    options.append(f"ConnectTimeout={CONNECT_TIMEOUT_S}")
    if known := reach.get("ssh_known_hosts_file"):
        options.append(f"UserKnownHostsFile={known}")
    if reach.get("ssh_key"):
        options.append("IdentitiesOnly=yes")
    return [word for option in options for word in ("-o", option)]


def run_within(host: Any, timeout_s: float) -> None:
    """Have testinfra's commands end after this time; itself it waits for ever."""

    def run_local(command: str, *args: str) -> Any:
        words = host.backend.encode(host.backend.quote(command, *args))
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(words, shell=True, start_new_session=True, **pipes) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return host.backend.result(process.returncode, words, out, err)

    host.backend.run_local = run_local


def ask(machine: Machine, questions: dict[str, str], timeout_s: float) -> Answers | str:
    """Answers of a machine, or why there are none."""
    if not questions:
        return {}
    script = base64.b64encode(question_script(questions).encode()).decode()
    if len(script) > LONGEST:
        return f"its {len(questions)} questions are too long for one command; use `fleet verify`"
    host = testinfra_host(machine)
    run_within(host, timeout_s)
    try:
        said = host.run("echo %s | base64 -d | sh -s", script)
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} s; does `nvidia-smi` hang there?"
    except RuntimeError as error:  # ssh's own exit code
        said = _last_line(getattr(error.args[0], "stderr", "") or str(error))
        return f"cannot be reached: {said}; is it up, and are `address:` and `ssh:` right?"
    try:
        return read_answers(said.stdout_bytes.decode("utf-8", "replace").split("\n"))
    except ValueError as error:
        return _last_line(said.stderr_bytes.decode("utf-8", "replace")) or str(error)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
