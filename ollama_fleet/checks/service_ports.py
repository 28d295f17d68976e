"""Where the services of a gateway or a monitor listen for others: at their planned addresses, nowhere else.

That somebody answers there is proved by a request; here it is what else of theirs can be reached.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ollama_fleet.checks.model import Asked, CheckResult
from ollama_fleet.checks.ports import (
    OF_UNITS,
    Address,
    Listener,
    Listening,
    is_loopback,
    read_listening,
    words_of,
)
from ollama_fleet.gateway import places as gateway_places
from ollama_fleet.gateway.nginx import ports as gateway_ports
from ollama_fleet.monitor import places as monitor_places
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.questions import Answers

# A machine that is both is asked once.
QUESTION = "service ports"
REMEDY = "see `ss -tlnp` there, and who changed the unit or its configuration; deploy again"


@dataclass(frozen=True)
class Open:
    """Where a unit may listen beyond loopback: these ports, at this address or at every one."""

    ports: tuple[int, ...] = ()
    address: Address | None = None

    def allows(self, one: Listener) -> bool:
        """Whether it may listen there."""
        return one[1] in self.ports and self.address in (None, one[0])


SHUT = Open()


def _at(ports: tuple[int, ...], listen: str | None) -> Open:
    address = ipaddress.ip_address(listen) if listen else None
    return Open(ports, None if address is None or address.is_unspecified else address)


def questions() -> dict[str, str]:
    """What to ask of either's machine."""
    return {QUESTION: OF_UNITS}


def of_gateway(plan: GatewayPlan) -> dict[str, Open]:
    """The units of a gateway. The address that gateways share is keepalived's, which listens nowhere."""
    shut = (
        *(gateway_places.BALANCER_UNIT,),
        *(gateway_places.ADDRESS_UNIT, gateway_places.ADDRESS_CHECK_UNIT),
    )
    front = _at(gateway_ports(plan), plan.listen)
    return {gateway_places.GATEWAY_UNIT: front, **dict.fromkeys(shut, SHUT)}


def of_monitor(plan: MonitorPlan) -> dict[str, Open]:
    """The units of a monitor: others come through the door."""
    door = SHUT if plan.is_loopback else _at((plan.port,), plan.listen)
    return {monitor_places.UNIT: SHUT, monitor_places.DOOR_UNIT: door}


def judge(
    host: str, subject: str, units: Mapping[str, Open], answers: Answers
) -> Iterator[CheckResult]:
    """One result, of the answer to `questions`; none where it was not asked."""
    if QUESTION not in answers:
        return
    found = read_listening(answers[QUESTION].text)
    beyond = {unit: _beyond(found, unit) for unit in units}
    wrong = [
        f"{unit} at {words_of(other)}"
        for unit, open_ in units.items()
        if (other := [one for one in beyond[unit] if not open_.allows(one)])
    ]
    right = [f"{_short(unit)} at {words_of(seen)}" for unit, seen in beyond.items() if seen]
    yield Asked(host, answers).result(
        subject,
        "ports",
        good=not wrong,
        expected="beyond loopback what was planned",
        found="; ".join(wrong) or ", ".join(right) or "nothing beyond loopback",
        remedy=REMEDY,
    )


def _beyond(found: Listening, unit: str) -> list[Listener]:
    return [one for one in found.of_unit(unit) if not is_loopback(one[0])]


def _short(unit: str) -> str:
    return unit.removesuffix(".service")
