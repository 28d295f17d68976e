"""Certificates of hosts and gateways: keys are made there, signed here, and services told to reload."""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.state import StateStage

from ollama_fleet.authority.folder import Authority, read_authority
from ollama_fleet.authority.places import (
    Place,
    gateway_places,
    hop_places,
    monitor_places,
    monitoring_places,
)
from ollama_fleet.authority.state import Due, due, questions, read_found, strangers
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.issue import MISSING, Issue, given_pair
from ollama_fleet.host.scripts import fail_host
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answers


def hop_asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about its certificate for gateways; nothing where it needs none."""
    return questions(hop_places(plan.hop))


def gateway_asked(plan: GatewayPlan) -> dict[str, str]:
    """What to ask a gateway's machine about its certificates."""
    return questions(gateway_places(plan))


def monitor_asked(plan: MonitorPlan) -> dict[str, str]:
    """What to ask a monitor's machine about its certificates."""
    return questions(monitor_places(plan))


def metrics_asked(shown: MonitoringPlan | None) -> dict[str, str]:
    """What to ask a machine about its certificate for monitors; nothing where it shows nothing."""
    return questions(monitoring_places(shown))


def metrics_problems(shown: MonitoringPlan | None, answers: Answers) -> list[str]:
    """Why it cannot be made, as `metrics_asked` tells before anything is changed."""
    places = monitoring_places(shown)
    return _problems(places, answers, Path(shown.authority)) if shown and places else []


def hop_problems(plan: HostPlan, answers: Answers) -> list[str]:
    """Why a host's certificate cannot be made, as `hop_asked` tells before anything is changed."""
    places = hop_places(plan.hop)
    return _problems(places, answers, Path(plan.hop.authority)) if plan.hop and places else []


def gateway_problems(plan: GatewayPlan, answers: Answers) -> list[str]:
    """The same for a gateway's."""
    return _problems(gateway_places(plan), answers, Path(plan.authority))


@operation()
def hop_certificates(plan: HostPlan, ca_dir: str) -> Generator[Any, None, None]:
    """
    Ensure that a host's nginx has a certificate with which gateways trust it, and knows theirs.

    Its key is made on the host. One exec when all is well and nothing was asked ahead, three else.

    + plan: what the host is to become
    + ca_dir: folder of the fleet's authority, on this machine; made when it is needed

    **Example:**

    .. code:: python

        hop_certificates(name="Certificate for gateways", plan=plan, ca_dir=plan.hop.authority)
    """
    yield from _in_place(hop_places(plan.hop), Path(ca_dir))


@operation()
def gateway_certificates(plan: GatewayPlan, ca_dir: str) -> Generator[Any, None, None]:
    """
    Ensure that a gateway has its certificates, for clients and for hosts, and that they are in force.

    Keys are made on the machine, but for one that the user gives. A service whose certificate changes
    is reloaded.

    + plan: what the gateway is to be
    + ca_dir: folder of the fleet's authority, on this machine; made when it is needed

    **Example:**

    .. code:: python

        gateway_certificates(name="Certificates", plan=gateway, ca_dir=gateway.authority)
    """
    yield from _in_place(gateway_places(plan), Path(ca_dir))


@operation()
def monitor_certificates(plan: MonitorPlan, ca_dir: str) -> Generator[Any, None, None]:
    """
    Ensure that a monitor has the certificate by which machines let it look, and one for people.

    + plan: what the monitor is to be
    + ca_dir: folder of the fleet's authority, on this machine; made when it is needed

    **Example:**

    .. code:: python

        monitor_certificates(name="Certificates", plan=monitor, ca_dir=monitor.authority)
    """
    yield from _in_place(monitor_places(plan), Path(ca_dir))


@operation()
def metrics_certificate(shown: MonitoringPlan, ca_dir: str) -> Generator[Any, None, None]:
    """
    Ensure that a machine has the certificate with which it shows its metrics, and knows the monitors'.

    + shown: what the machine shows
    + ca_dir: folder of the fleet's authority, on this machine; made when it is needed

    **Example:**

    .. code:: python

        metrics_certificate(name="Certificate for monitors", shown=shown, ca_dir=shown.authority)
    """
    yield from _in_place(monitoring_places(shown), Path(ca_dir))


def _in_place(places: Sequence[Place], folder: Path) -> Generator[Any, None, None]:
    if not places:
        host.noop("no certificates are needed")
        return
    asked = questions(places)
    answers = ask(asked)
    if not asked.keys() <= answers.keys():
        yield no_answer()
        return
    wrong = _problems(places, answers, folder)
    if wrong and host.state.current_stage == StateStage.Prepare:
        fail_host(host.state, host, wrong)  # says it now: a dry run never gets to the failing
    if wrong:
        yield FunctionCommand(fail_host, (wrong,), {})
        return
    dues, late = _dues(places, answers, folder)
    for line in late:
        host.log_styled(line, fg="yellow")
    if dues:
        yield Issue(dues, folder)
    else:
        host.noop(f"{len(places)} certificates are in force")


def _problems(places: Sequence[Place], answers: Answers, folder: Path) -> list[str]:
    found = {place.certificate: read_found(place, answers) for place in places}
    try:
        authority = read_authority(folder)
        unknown = strangers(found, authority)
        if unknown:
            return [_stranger(places, unknown, folder, authority)]
        _dues(places, answers, folder)
    except (InputError, ValueError) as error:
        return str(error).splitlines()
    return []


def _stranger(
    places: Sequence[Place], unknown: list[str], folder: Path, authority: Authority | None
) -> str:
    if authority is None:
        MISSING[str(folder)] = ", ".join(unknown)
    here = "another one is" if authority else "none is"
    folders = " ".join(dict.fromkeys(place.folder for place in places))
    return (
        f"its certificates are of '{', '.join(unknown)}', and {here} in {folder}; copy that folder from "
        f"where the fleet was deployed before, or, to give it up, `rm -r {folders}` on this machine"
    )


def _dues(places: Sequence[Place], answers: Answers, folder: Path) -> tuple[list[Due], list[str]]:
    """What has to change, and what should but cannot now. Raises InputError, ValueError."""
    authority, now = read_authority(folder), datetime.now(UTC)
    dues, late = [], []
    for place in places:
        chain = given_pair(place).chain if place.given else ()
        item = due(place, read_found(place, answers), authority, chain, now)
        if item and item.anew and not place.given and authority and authority.key is None:
            what = f"{place.certificate} {'; '.join(item.reasons)}, and {folder}/ca.key is not here"
            if not item.could_wait:
                raise ValueError(
                    f"{what}, which has to sign a new one; copy it from where the fleet was deployed "
                    "first, or start with another authority (docs/tls.md: a lost key)"
                )
            late.append(f"{what} to renew it; deploy from where it is")
        elif item:
            dues.append(item)
    return dues, late
