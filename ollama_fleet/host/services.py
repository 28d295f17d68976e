"""What the gateway's, the metrics' and the monitor's operations share: a machine made ready, and services
brought into force."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand
from pyinfra.api.state import StateStage

from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.services.ready import Part, problems, read_ready, ready_steps
from ollama_fleet.services.service import Step
from ollama_fleet.templating import HostFile

Commands = Generator[Any, None, None]


def made_ready(
    part: Part,
    wanted: Mapping[str, str],
    environment: Mapping[str, str],
    later: Sequence[Mapping[str, str]] = (),
) -> Commands:
    """Packages, account and folders of a part. `later` is asked along with it, for the steps that follow."""
    answers = ask(wanted, ahead=later)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
    elif wrong := problems(part.name, answers):
        yield from refused(wrong)
    elif steps := ready_steps(part, read_ready(part, answers)):
        yield Script(change_script(_texts(steps), environment))
    else:
        host.noop("everything is there")


def in_force(steps: Sequence[Step], told: str) -> Commands:
    """These steps, or where there are none what is `told`."""
    if steps:
        yield Script(change_script(_texts(steps)))
    else:
        host.noop(told)


def refused(why: list[str]) -> Commands:
    """Fails the machine, already where the run only looks: a dry run never gets to the failing."""
    if host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, why)
    yield FunctionCommand(fail_host, (why,), {})


def _texts(steps: Sequence[Step]) -> list[str]:
    return [put_file(step) if isinstance(step, HostFile) else step for step in steps]
