"""The address that gateways share: what an inventory may say of it, and the files that it becomes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.authority.leaf import server_leaf
from ollama_fleet.gateway import prepare
from ollama_fleet.gateway.address import address_services, leftover_steps, questions
from ollama_fleet.gateway.gateway import gateway_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.places import ADDRESS_SCRIPT as SCRIPT
from ollama_fleet.gateway.places import ADDRESS_UNIT as UNIT
from ollama_fleet.gateway.places import KEEPALIVED_CONF as CONFIGURATION
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.planner.firewall import firewall_of
from ollama_fleet.problems import InputError
from ollama_fleet.services.service import Found, files_of, service_steps
from tests.unit.gateways import HOSTS, TWO, fleet, gateways

SHARED = {"address": "10.0.0.50/24"}


def files(**gateway: Any) -> dict[str, str]:
    (first, *_) = gateways(virtual_address=SHARED, **gateway).values()
    return {item.path: item.text for item in files_of(address_services(first))}


def test_each_gateway_knows_the_others_and_the_first_is_preferred() -> None:
    one, two = (plan.virtual_address for plan in gateways(virtual_address=SHARED).values())
    assert one and two
    assert (one.own, one.peers) == ("10.0.0.21", ("10.0.0.22",))
    assert (two.own, two.peers) == ("10.0.0.22", ("10.0.0.21",))
    assert one.priority > two.priority and one.ip == "10.0.0.50"


def test_without_a_shared_address_there_is_nothing() -> None:
    for plan in gateways().values():
        assert address_services(plan) == [] and prepare.gateway_part(plan) == prepare.GATEWAY
        # What an earlier deploy left would keep the address.
        assert list(questions(plan)) == ["gateway.address"]
    assert leftover_steps([]) == [] and "disable" in "".join(leftover_steps([CONFIGURATION]))


def test_each_gateways_certificate_has_the_shared_address() -> None:
    for plan in gateways(virtual_address=SHARED).values():
        assert {"10.0.0.50", plan.address} <= set(server_leaf(plan).names)


def test_gateways_let_each_other_say_who_has_it() -> None:
    closed = {**TWO, "gw1": {**TWO["gw1"], "firewall": {"mode": "closed"}}}
    made = fleet(closed, virtual_address=SHARED)
    assert firewall_of(made, "gw1").vrrp_from == ("10.0.0.22",)


def test_keepalived_is_told_the_address_and_whom_to_tell() -> None:
    text = files()[CONFIGURATION]
    assert "        10.0.0.50/24\n" in text and "    unicast_src_ip 10.0.0.21\n" in text
    assert "    unicast_peer {\n        10.0.0.22\n    }" in text
    assert "    virtual_router_id 50\n    priority 200\n" in text
    assert "    nopreempt\n" in text and "auth_pass" not in text


def test_an_interface_that_is_named_is_taken_and_else_looked_for() -> None:
    assert "ip -o addr show to 10.0.0.21" in files()[SCRIPT]
    (named, _) = gateways(virtual_address={**SHARED, "interface": "bond0.12"}).values()
    script = {item.path: item.text for item in files_of(address_services(named))}[SCRIPT]
    assert "name=bond0.12" in script and "addr show" not in script


def test_a_changed_peer_is_taken_by_a_reload() -> None:
    (plan, _) = gateways(virtual_address=SHARED).values()
    services = gateway_services(plan, Machine())
    assert [service.unit for service in services][2:] == ["ollama-address-check.service", UNIT]
    found = Found(
        {
            file.path: (file.mode.lstrip("0"), hashlib.sha256(file.text.encode()).hexdigest())
            for file in files_of(services)
            if file.path != CONFIGURATION
        },
        {
            service.unit: {"ActiveState": "active", "UnitFileState": "enabled"}
            for service in services
        },
        {service.unit: service.digest for service in services},
    )
    (last,) = [step for step in service_steps(services, [], found) if "begun=" in str(step)][1:]
    assert f"systemctl reload-or-restart {UNIT}" in str(last)


@pytest.mark.parametrize(
    ("machines", "gateway", "said"),
    [
        (TWO, {"virtual_address": {"address": "10.0.0.50"}}, "write it like 10.0.0.50/24"),
        (TWO, {"virtual_address": {"address": "db.lan/24"}}, "no address with its network"),
        (TWO, {"virtual_address": {"address": "127.0.0.2/8"}}, "no machine's address"),
        (TWO, {"virtual_address": {**SHARED, "router_id": 0}}, "router_id"),
        (TWO, {"virtual_address": {**SHARED, "interface": "a; b"}}, "interface"),
        (TWO, {"virtual_address": SHARED, "listen": "10.0.0.21"}, "drop it"),
        ({"gw1": TWO["gw1"]}, {"virtual_address": SHARED}, "there is 1"),
        (
            {**TWO, "gw2": {"address": "gw2.lan"}},
            {"virtual_address": SHARED},
            "'gw2.lan' is a name",
        ),
        ({**TWO, "gw2": {}}, {"virtual_address": SHARED}, "is missing"),
        ({**TWO, "gw2": {"address": "10.0.0.50"}}, {"virtual_address": SHARED}, "itself"),
        ({**TWO, "gw2": {"address": "fd00::2"}}, {"virtual_address": SHARED}, "take one kind"),
    ],
)
def test_what_cannot_work_is_said(machines: Any, gateway: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fleet(machines, **gateway)


def test_hosts_may_share_an_address_as_well() -> None:
    machines = {"one": {"host": "gpu01"}, "two": {"host": "gpu02"}}
    (one, _) = gateways(machines, virtual_address=SHARED).values()
    assert one.virtual_address and one.virtual_address.own == HOSTS["gpu01"]["address"]


def test_an_engine_of_the_site_is_let_in_and_never_touched() -> None:
    own = fleet({"lb1": {"address": "10.0.0.5", "manage": False}})
    hosts = dict(fleet_hosts(own, Path("prod.py")))
    assert set(hosts) == set(HOSTS)
    hop = hosts["gpu01"]["plan"].hop
    assert hop.gateways == ("lb1",) and hop.listen_port == 11443


def test_an_engine_of_the_site_is_on_no_host_of_the_fleet() -> None:
    with pytest.raises(InputError, match="drop `host` or `manage`"):
        fleet({"lb1": {"host": "gpu01", "manage": False}})
