"""The firewall of one machine: asked, tried with a connection of its own, kept or taken back."""

import time
from collections.abc import Generator, Mapping
from typing import Any

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import StateStage
from pyinfra.connectors.ssh import SSHConnector

from ollama_fleet.firewall import change
from ollama_fleet.firewall.rules import TABLE, rules_file, unit_file
from ollama_fleet.firewall.state import FirewallState, questions, read_state
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.diffs import show_files
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.templating import HostFile

# Of seconds: until the old rules are back once the timer is due.
AFTER_S = 3


def asked(plan: HostPlan) -> Mapping[str, str]:
    """What is asked of a host, for `ahead`."""
    return questions(plan.firewall)


def problems(plan: HostPlan, answers: Answers) -> list[str]:
    """What keeps the firewall from a host, for `ahead`."""
    return change.problems(plan.firewall, read_state(answers))


@operation()
def firewall_in_force(firewall: FirewallPlan) -> Generator[Any, None, None]:
    """
    Ensure that a machine has this firewall, in one nftables table of its own, now and after a boot; or
    none of ours.

    New rules are tried: they stay only if a new SSH connection comes through them within a minute.
    Otherwise the old ones come back, also when this run has died by then.

    + firewall: what it is to be

    **Example:**

    .. code:: python

        firewall_in_force(name="Guard the ports", firewall=firewall)
    """
    wanted = questions(firewall)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    state = read_state(answers)
    wrong = change.problems(firewall, state)
    if wrong and host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, wrong)  # says it now: a dry run never gets to the failing
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
        return
    for line in change.advice(firewall, state):
        host.log_styled(line, fg="yellow")
    if firewall.mode == "off":
        yield from _removed(state.is_untouched)
    elif state.has(rules_file(firewall, state.found)):
        host.noop(f"the firewall is in force ({firewall.mode})")
    else:
        yield from _tried_and_kept(firewall, state)


def _tried_and_kept(firewall: FirewallPlan, state: FirewallState) -> Generator[Any, None, None]:
    rules = rules_file(firewall, state.found)
    if closed := change.closes(firewall, state):
        host.log_styled(f"not reachable from outside any more: {', '.join(closed)}", fg="yellow")
    show_files([rules, unit_file()])
    yield _script(change.try_steps(rules, state), firewall)
    yield FunctionCommand(try_connection, (), {})
    yield _script(change.keep_steps(rules), firewall)


def _removed(is_untouched: bool) -> Generator[Any, None, None]:
    if is_untouched:
        host.noop("no firewall of ours is here")
    else:
        yield Script(change_script([change.REMOVE]))


def _script(steps: list[change.Step], firewall: FirewallPlan) -> Script:
    parts = [put_file(step) if isinstance(step, HostFile) else step for step in steps]
    return Script(change_script(parts, firewall.environment))


def try_connection(state: State, host: Host) -> bool:
    """Open one more SSH connection beside the run's own; fails the host where none comes through, once
    the old rules are back.

    A run on the machine itself has none to lose.
    """
    if not isinstance(host.connector, SSHConnector):
        return True
    began = time.monotonic()
    trouble = _new_connection(host)
    if trouble is None:
        return True
    host.log_styled("no new SSH connection comes through; the old rules come back", fg="yellow")
    # The run's own connection may be as dead. The timer needs none.
    time.sleep(max(0, began + change.TRIAL_S + AFTER_S - time.monotonic()))
    return fail_host(state, host, [_refusal(trouble, _new_connection(host))])


def _new_connection(host: Host) -> str | None:
    """Why no new SSH connection can be opened; None where one was."""
    second = SSHConnector(host.state, host)
    try:
        second.connect()
    except (ConnectError, EOFError, OSError, SSHException) as error:
        return str(error) or type(error).__name__
    finally:
        if second.client:
            second.client.close()
    return None


def _refusal(trouble: str, still: str | None) -> str:
    what = f"no new SSH connection came through the new firewall rules ({trouble})"
    if still:
        return (
            f"{what}, and none does now that the old ones should be back ({still}); look at the host's "
            f"console: `nft delete table inet {TABLE}` opens all that we closed"
        )
    return (
        f"{what}; the old ones are back and nothing is changed. Look at what else filters there (`nft list "
        "ruleset`), and whether sshd listens where this run comes in; then run again"
    )
