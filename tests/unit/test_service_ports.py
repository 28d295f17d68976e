"""Where the services of a gateway or a monitor may be reached by others."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ollama_fleet.checks import service_ports
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.service_ports import QUESTION, Open, of_gateway, of_monitor
from ollama_fleet.gateway.gateway import gateway_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.monitor.services import services_of
from ollama_fleet.planner.gateway import TlsPlan
from ollama_fleet.planner.monitor import monitors_of
from ollama_fleet.questions import Answer
from tests.unit.gateways import gateways
from tests.unit.monitored import fleet as monitored

PLAN = gateways()["gw1"]
SHARING = gateways(virtual_address={"address": "10.0.0.9/24"})["gw1"]
MONITOR = monitors_of(monitored())["mon1"]
SEEN = replace(MONITOR, listen="10.0.0.31", users={"kim": "x"})
NGINX = "unit ollama-gateway.service 7\nlistens 7 00000000:01BB\n"
BALANCER = "unit ollama-balancer.service 8\nlistens 8 0100007F:2CAA\n"
DOOR = f"unit ollama-monitor-door.service 9\nlistens 9 1F00000A:{MONITOR.port:04X}\n"


def told(units: Mapping[str, Open], text: str) -> CheckResult:
    (result,) = service_ports.judge("one", "gateway gw1", units, {QUESTION: Answer(text)})
    assert result.check == "ports" and bool(result.remedy) is result.failed
    return result


def test_every_unit_of_both_is_looked_at() -> None:
    assert set(of_gateway(SHARING)) == {
        service.unit for service in gateway_services(SHARING, Machine())
    }
    assert set(of_monitor(SEEN)) == {service.unit for service in services_of(SEEN)}


def test_what_was_planned_is_well() -> None:
    result = told(of_gateway(PLAN), NGINX + BALANCER)
    assert (result.status, result.found) == ("ok", "ollama-gateway at 0.0.0.0:443")
    assert told(of_gateway(PLAN), "").found == "nothing beyond loopback"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NGINX + "listens 7 00000000:20FB", "ollama-gateway.service at 0.0.0.0:8443"),
        (
            NGINX + "unit ollama-balancer.service 8\nlistens 8 0B00000A:2CAA",
            "ollama-balancer.service at 10.0.0.11:11434",
        ),
        (
            "unit ollama-gateway.service 7\nlistens 7 00000000000000000000000000000000:0050",
            "ollama-gateway.service at [::]:80",
        ),
        (
            "unit ollama-address.service 7\nlistens 7 00000000:0001",
            "ollama-address.service at 0.0.0.0:1",
        ),
    ],
)
def test_what_listens_elsewhere_beyond_loopback_fails(text: str, words: str) -> None:
    result = told(of_gateway(PLAN), text)
    assert (result.status, result.found) == ("failed", words)


def test_the_port_of_challenges_is_open_where_certificates_come_by_them() -> None:
    text = NGINX + "listens 7 00000000:0050"
    assert told(of_gateway(PLAN), text).failed
    acme = replace(PLAN, tls=TlsPlan("acme"))
    assert told(of_gateway(acme), text).status == "ok"


@pytest.mark.parametrize(
    ("listen", "at", "good"),
    [
        (None, "00000000", True),
        (None, "0B00000A", True),
        ("10.0.0.11", "0B00000A", True),
        ("10.0.0.11", "00000000", False),
        ("0.0.0.0", "00000000", True),
        ("2001:DB8:0::1", "B80D0120000000000000000001000000", True),
        ("2001:db8::1", "00000000000000000000000000000000", False),
    ],
)
def test_an_address_of_its_own_is_the_only_one(listen: str | None, at: str, good: bool) -> None:
    text = f"unit ollama-gateway.service 7\nlistens 7 {at}:01BB"
    assert told(of_gateway(replace(PLAN, listen=listen)), text).failed is not good


def test_people_come_to_a_monitor_by_its_door_alone() -> None:
    assert told(of_monitor(SEEN), DOOR).status == "ok"
    assert told(of_monitor(MONITOR), DOOR).failed, "it is for nobody"
    prometheus = DOOR.replace("monitor-door", "prometheus")
    assert told(of_monitor(SEEN), prometheus).failed, "it asks nobody for a password"


def test_a_machine_that_was_not_asked_is_not_judged() -> None:
    assert [*service_ports.judge("one", "gateway gw1", of_gateway(PLAN), {})] == []
