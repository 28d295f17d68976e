"""Reboots: only when one is needed, only where one is allowed, at most once in a run.

pyinfra's own operation looks at the uptime, which in a container is the machine's; the boot id is
another one after every boot.
"""

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import ConnectError

from ollama_fleet.draining import drain
from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.reboot import policy, reboot_reasons, refusal, unsafe
from ollama_fleet.driver.state import State as DriverState
from ollama_fleet.gpu_settings import ecc_waits, read_settings, wanted_settings
from ollama_fleet.hardware.found import read_hardware
from ollama_fleet.host import mig
from ollama_fleet.host.answers import ask, forget, no_answer
from ollama_fleet.host.driver_steps import driver_state, proof_commands
from ollama_fleet.host.rolling import InTurn, needs_no_turn, turns_of
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.host.transport import tune_connection
from ollama_fleet.mig.layout import cut_of, whole_gpus
from ollama_fleet.mig.problems import reboot_reasons as gpu_reboot_reasons
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.rollout.proof import returned
from ollama_fleet.rollout.script import name_of

# A server with eight GPUs and two terabytes of RAM tests itself for a quarter of an hour.
BACK_AFTER_S = 1800
# Long enough for the answer of the script to arrive before the network goes.
REBOOT = "setsid sh -c 'sleep 1; exec systemctl reboot' </dev/null >/dev/null 2>&1 9>&- &"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
BOOTED = "systemctl is-active --quiet multi-user.target"

_boot_ids: dict[str, str] = {}  # of hosts that this run has rebooted: the boot id before
_slices: dict[str, tuple[str, ...]] = {}  # what ran on each host when this run began
_done: dict[str, set[str]] = {}  # and why they were, so that no reason reboots a host twice


@operation()
def rebooted_if_needed(plan: HostPlan, gpus: bool = False) -> Generator[Any, None, None]:
    """
    Reboot a host whose installed driver, or whose GPUs' pending modes, cannot come into use
    otherwise, and wait until it is back.

    Done where the inventory allows it (`reboot: auto | ask | never`; without a word: unless slices
    run), and once in a run for one reason; otherwise the host fails with the reasons.

    + plan: what the host is to become
    + gpus: look at the GPUs' modes, not at the driver

    **Example:**

    .. code:: python

        rebooted_if_needed(name="Reboot if the driver needs it", plan=plan)
    """
    step = "gpus' reboot" if gpus else "reboot"
    commands = list(reboot_commands(plan, gpus))
    units = _slices.get(host.name, ())
    if units and is_reboot(commands) and turns_of(plan):
        names = [name_of(unit) for unit in units]
        out = Script(change_script([_drained(plan, units)]))
        # With other GPUs than it was planned for, a slice is proved by the step that starts it anew.
        after = [] if gpus else after_boot(plan)
        yield InTurn(plan, step, names, lambda: chain([out], commands, after), not gpus)
    else:
        needs_no_turn(plan, step)
        yield from commands


def reboot_commands(plan: HostPlan, gpus: bool = False) -> Iterator[PyinfraCommand]:
    """Commands that reboot the host if it has to be and may be; or fail it."""
    state = driver_state(plan)
    if state is None:
        yield no_answer()
        return
    # Those that this run has drained since then are served again, too.
    state = replace(state, slices=served_slices(state))
    reasons, may_wait = _gpu_reasons(plan) if gpus else (_driver_reasons(plan, state), [])
    if may_wait and (reasons or policy(plan, state) != "never"):
        reasons, may_wait = [*reasons, *may_wait], []
    for reason in may_wait:
        host.log_styled(f"{reason}, and waits for a reboot", fg="yellow")
    if not reasons:
        host.noop("no reboot is needed")
        return
    done = _done.setdefault(host.name, set())
    if done.intersection(reasons):
        again = f"it was rebooted in this run already, and still: {'; '.join(reasons)}"
        yield FunctionCommand(fail_host, ([again],), {})
        return
    if problem := unsafe(state):
        yield FunctionCommand(fail_host, ([f"{'; '.join(reasons)}, but {problem}"],), {})
        return
    if not _allowed(policy(plan, state), reasons):
        words = refusal(reasons, state, plan.provision.reboot)
        yield FunctionCommand(fail_host, (words,), {})
        return
    if host.state.is_executing:
        done.update(reasons)
    what = "rebooting" if host.state.is_executing else "a reboot will be needed"
    host.log(f"{what}, because {'; '.join(reasons)}")
    yield FunctionCommand(remember_boot, (), {})
    yield Script(change_script([REBOOT]))
    yield FunctionCommand(wait_for_boot, (), {})


def served_slices(state: DriverState) -> tuple[str, ...]:
    """Units of the slices that ran when this run first asked; the step of the driver asks before it drains
    any."""
    return _slices.setdefault(host.name, state.slices)


def is_reboot(commands: Sequence[PyinfraCommand]) -> bool:
    """Whether these boot the host."""
    return any(getattr(command, "function", None) is wait_for_boot for command in commands)


def after_boot(plan: HostPlan) -> Iterator[PyinfraCommand]:
    """Commands that prove the driver, and the slices that ran when this run began."""
    yield from proof_commands(plan)
    units = _slices.get(host.name, ())
    if steps := returned(plan, [item for item in plan.slices if item.unit in units]):
        yield Script(change_script(steps))


def _drained(plan: HostPlan, units: Sequence[str]) -> str:
    ports = [item.port for item in plan.slices if item.unit in units]
    return drain(units, ports, plan.provision.drain_timeout_s, plan.notice_s)


def _driver_reasons(plan: HostPlan, state: DriverState) -> list[str]:
    wanted = decide(plan.provision.driver, state).action != "leave"
    return reboot_reasons(plan, state) if wanted else []


def _gpu_reasons(plan: HostPlan) -> tuple[list[str], list[str]]:
    """Pending modes without which slices cannot be placed, and those that may wait: of GPUs that the
    plan cuts, serves from or sets; others are not our business."""
    questions = mig.asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        return [], []
    hardware = read_hardware(answers)
    try:
        planned = {*cut_of(plan, hardware), *whole_gpus(bind(plan, hardware), hardware)}
    except CannotBindError:
        return [], []
    ours = replace(hardware, gpus=tuple(g for g in hardware.gpus if g.pci_bus_id in planned))
    settings, wanted = read_settings(answers, hardware), wanted_settings(plan, hardware)
    waiting = [
        f"GPU {gpu.pci_bus_id}: ECC mode is pending"
        for gpu in hardware.gpus
        if gpu.index in ecc_waits(settings) and "-e" in wanted.get(gpu.pci_bus_id, {})
    ]
    return gpu_reboot_reasons(ours), waiting


def _allowed(wanted: str, reasons: list[str]) -> bool:
    if wanted != "ask":
        return wanted == "auto"
    if not host.state.is_executing or not sys.stdin.isatty():
        return not host.state.is_executing
    question = f"{host.name} needs a reboot: {'; '.join(reasons)}. Reboot it now? [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
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
