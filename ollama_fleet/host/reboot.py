"""Reboots: only when one is needed, only where one is allowed, at most once in a run.

pyinfra's own operation looks at the uptime, which in a container is the machine's; the boot id is
another one after every boot.
"""

import sys
import time
from collections.abc import Generator
from typing import Any

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.api.exceptions import ConnectError

from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.reboot import policy, reboot_reasons, refusal
from ollama_fleet.host.answers import forget, no_answer
from ollama_fleet.host.driver import driver_state
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.host.transport import tune_connection
from ollama_fleet.planner.plan import HostPlan

# A server with eight GPUs and two terabytes of RAM tests itself for a quarter of an hour.
BACK_AFTER_S = 1800
# Long enough for the answer of the script to arrive before the network goes.
REBOOT = "setsid sh -c 'sleep 1; exec systemctl reboot' </dev/null >/dev/null 2>&1 9>&- &"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
BOOTED = "systemctl is-active --quiet multi-user.target"

_boot_ids: dict[str, str] = {}  # of hosts that this run has rebooted: the boot id before


@operation()
def rebooted_if_needed(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Reboot a host whose installed driver cannot come into use otherwise, and wait until it is back.

    Done where the inventory allows it (`reboot: auto | ask | never`; without a word: unless slices
    run), and once in a run; otherwise the host fails with the reasons.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        rebooted_if_needed(name="Reboot if the driver needs it", plan=plan)
    """
    state = driver_state(plan)
    if state is None:
        yield no_answer()
        return
    reasons = reboot_reasons(plan, state)
    if not reasons or decide(plan.provision.driver, state).action == "leave":
        host.noop("no reboot is needed")
        return
    if host.name in _boot_ids:
        again = f"it was rebooted in this run already, and still: {'; '.join(reasons)}"
        yield FunctionCommand(fail_host, ([again],), {})
        return
    if not _allowed(policy(plan, state), reasons):
        words = refusal(reasons, state, plan.provision.reboot)
        yield FunctionCommand(fail_host, (words,), {})
        return
    what = "rebooting" if host.state.is_executing else "a reboot will be needed"
    host.log(f"{what}, because {'; '.join(reasons)}")
    yield FunctionCommand(remember_boot, (), {})
    yield Script(change_script([REBOOT]))
    yield FunctionCommand(wait_for_boot, (), {})


def _allowed(wanted: str, reasons: list[str]) -> bool:
    if wanted != "ask":
        return wanted == "auto"
    if not host.state.is_executing or not sys.stdin.isatty():
        return not host.state.is_executing
    print(f"{host.name} needs a reboot: {'; '.join(reasons)}. Reboot it now? [y/N] ", end="")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def remember_boot(state: State, host: Host) -> bool:
    """Keep the boot id, by which the next boot is told from this one."""
    boot_id = _ask(host, BOOT_ID)
    if boot_id:
        _boot_ids[host.name] = boot_id
    return bool(boot_id)


def wait_for_boot(state: State, host: Host) -> bool:
    """Connect again and again until the host has booted; False when it does not come back."""
    started = time.monotonic()
    while time.monotonic() - started < BACK_AFTER_S:
        time.sleep(2)
        if _reconnect(host) and _ask(host, BOOT_ID) not in ("", _boot_ids[host.name]):
            while _ask(host, f"{BOOTED} && echo yes") != "yes":
                if time.monotonic() - started > BACK_AFTER_S:
                    break
                time.sleep(1)
            forget(host)
            host.log(f"back after {time.monotonic() - started:.0f} s")
            return True
    words = f"it did not come back within {BACK_AFTER_S} s after its reboot; look at its console"
    return fail_host(state, host, [words])


def _reconnect(host: Host) -> bool:
    client = getattr(host.connector, "client", None)
    try:
        host.disconnect()
        if client:
            client.close()  # pyinfra leaves it open
        host.connect(show_errors=False, raise_exceptions=True)
    except (ConnectError, EOFError, OSError, SSHException):
        return False
    tune_connection(host)
    return True


def _ask(host: Host, command: str) -> str:
    """The output of a command that needs no rights; empty when there is none to be had."""
    try:
        done, output = host.run_shell_command(command, print_output=False, print_input=False)
    except (EOFError, OSError, SSHException):
        return ""
    return output.stdout.strip() if done else ""
