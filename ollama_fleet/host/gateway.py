"""The gateway and each host's part of it: programs, services in force, and the proof."""

from collections.abc import Generator, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.state import StateStage

from ollama_fleet.authority.acme import acme_questions
from ollama_fleet.checks import own_machine
from ollama_fleet.checks.gateway import gateway_questions, gateway_results
from ollama_fleet.checks.outcome import HostOutcome
from ollama_fleet.gateway import address, known_keys, prepare
from ollama_fleet.gateway.gateway import common_files, gateway_services
from ollama_fleet.gateway.hop import hop_services
from ollama_fleet.gateway.machine import MACHINE_QUESTIONS, Machine, machine_of
from ollama_fleet.host import certificates, metrics
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.own_machine import with_own
from ollama_fleet.host.services import Commands, in_force, made_ready, refused
from ollama_fleet.host.verification import conclude
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.rollout import groups
from ollama_fleet.rollout.ports import at_ports
from ollama_fleet.services import ready
from ollama_fleet.services.service import Service, questions, read_found, service_steps
from ollama_fleet.templating import HostFile


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about its part; preflight asks it ahead."""
    if plan.hop is None:
        return {}
    services = hop_services(plan, Machine())
    return {
        **ready.questions(prepare.HOP),
        **MACHINE_QUESTIONS,
        **groups.QUESTION,
        **questions("hop", services, []),
    }


def gateway_asked(gateway: GatewayPlan) -> dict[str, str]:
    """What to ask a gateway's machine."""
    services = gateway_services(gateway, Machine())
    return {
        **ready.root_questions("gateway"),
        **ready.questions(prepare.gateway_part(gateway)),
        **address.questions(gateway),
        **known_keys.questions(),
        **MACHINE_QUESTIONS,
        **questions("gateway", services, common_files()),
    }


@operation()
def hop_ready(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure a host has what its part of the gateway needs: packages, account, folders.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        hop_ready(name="Install what the hop needs", plan=plan)
    """
    yield from made_ready(prepare.HOP, asked(plan), plan.provision.environment)


@operation()
def gateway_ready(gateway: GatewayPlan) -> Generator[Any, None, None]:
    """
    Ensure a machine has what a gateway needs: packages, account, folders.

    + gateway: what it is to be

    **Example:**

    .. code:: python

        gateway_ready(name="Install what the gateway needs", gateway=gateway)
    """
    part = prepare.gateway_part(gateway)
    later = [certificates.gateway_asked(gateway), acme_questions(gateway), *metrics.own_asked()]
    yield from made_ready(part, gateway_asked(gateway), gateway.environment, later)


@operation()
def hop_serves(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure gateways reach the host's slices, and hear how they are.

    A changed configuration is reloaded; requests that run go on.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        hop_serves(name="Let gateways reach the slices", plan=plan)
    """
    wanted = asked(plan)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    # A slice that gets another port still has its old one: the step that changes it tells the hop.
    now = at_ports(plan, groups.read_places(answers), ())
    services = hop_services(now, machine_of(answers))
    yield from _serves("hop", services, [], answers, f"gateways reach {len(now.slices)} slices")


@operation()
def gateway_serves(gateway: GatewayPlan) -> Generator[Any, None, None]:
    """
    Ensure this machine answers for the whole fleet.

    A changed configuration is reloaded; requests that run go on.

    + gateway: what it is to be

    **Example:**

    .. code:: python

        gateway_serves(name="Run the gateway", gateway=gateway)
    """
    wanted = gateway_asked(gateway)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    if locked_out := known_keys.locks_all_out(gateway, answers):
        yield from refused([locked_out])
        return
    if lost := known_keys.lost(gateway, answers):
        host.log_styled(known_keys.words(lost), fg="yellow")
    services = gateway_services(gateway, machine_of(answers))
    told = f"gateway {gateway.name} serves {len(gateway.pools)} models"
    left = answers[address.LEFT].lines if address.LEFT in answers else []
    given_up = address.leftover_steps(left)
    yield from _serves("gateway", services, common_files(), answers, told, given_up)


def _serves(
    prefix: str,
    services: list[Service],
    files: list[HostFile],
    answers: Answers,
    told: str,
    after: Sequence[str] = (),
) -> Commands:
    steps = service_steps(services, files, read_found(prefix, services, answers))
    yield from in_force([*steps, *after], told)


@operation()
def hosts_are_done() -> Generator[Any, None, None]:
    """
    Let every machine come to this point before any goes on: pyinfra does an operation that machines have
    in common when all of them got to it.

    **Example:**

    .. code:: python

        hosts_are_done(name="Wait for the hosts")
    """
    host.noop("hosts and gateways are here")
    yield from ()


@operation()
def gateway_proved(gateway: GatewayPlan) -> Generator[Any, None, None]:
    """
    Fail the machine unless its gateway is what it should be and reaches every slice; no change when it
    does.

    + gateway: what it is to be

    **Example:**

    .. code:: python

        gateway_proved(name="Verify the gateway", gateway=gateway)
    """
    if host.state.current_stage == StateStage.Prepare:
        host.noop("verified when the deploy has run")
        return
    wanted = with_own(gateway, gateway_questions(gateway) | metrics.own_proof_asked())
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    results = [*gateway_results(gateway, answers), *metrics.own_results(gateway, answers)]
    results += own_machine.results(gateway, answers)
    yield from conclude(HostOutcome(gateway.host, ("gateway",), tuple(results)))
