"""The firewall without a machine: what an inventory means, which rules that makes, and what is held against
it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.firewall.change import UNDO, advice, closes, keep_steps, problems, try_steps
from ollama_fleet.firewall.rules import Found, rules_file, unit_file
from ollama_fleet.firewall.state import FirewallState, digest, questions, read_state
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import validate
from ollama_fleet.planner.firewall import FirewallPlan, Opening, firewall_of
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answer
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.yamlfile import YamlFile

GATEWAY = {"names": ["ai.example.com"]}
TWO = {"gw1": {"address": "10.0.0.8"}, "gw2": {"address": "2001:db8::9"}}
FOUND = Found({"gw.lan": ("10.0.0.7", "fd00::7")}, (22, 2200))


def fleet(firewall: dict[str, Any] | None = None, **settings: Any) -> Fleet:
    hosts = {"a": {"address": "10.0.0.11"}, "b": {"address": "10.0.0.12"}}
    document = {"version": 1, "hosts": hosts, **settings}
    if firewall is not None:
        document["firewall"] = firewall
    return validate(YamlFile("prod.yml", document))


def closed(firewall: dict[str, Any] | None = None, **settings: Any) -> Fleet:
    return fleet({"mode": "closed", **(firewall or {})}, **settings)


def rules(plan: FirewallPlan, found: Found = FOUND) -> str:
    return rules_file(plan, found).text


def opened(plan: FirewallPlan) -> dict[int, tuple[str, ...]]:
    return {item.port: item.sources for item in plan.openings}


def test_without_gateway_and_key_there_is_none() -> None:
    assert firewall_of(fleet(), "a") == FirewallPlan()


def test_a_host_whose_gateway_is_its_own_needs_none() -> None:
    hosts = {"a": {"address": "10.0.0.11"}}
    assert firewall_of(fleet(gateway=GATEWAY, hosts=hosts), "a").mode == "off"


def test_a_fleet_with_gateways_guards_the_way_to_its_slices() -> None:
    one = fleet(gateway=GATEWAY, gateways=TWO)
    plan = firewall_of(one, "a")
    assert plan.mode == "ports"
    assert opened(plan) == {11443: ("10.0.0.8", "2001:db8::9")}
    assert firewall_of(one, "gw1").mode == "off"
    text = rules(plan)
    assert "policy accept" in text
    assert "ip saddr { 10.0.0.8 } tcp dport { 11443 } accept" in text
    assert "ip6 saddr { 2001:db8::9 } tcp dport { 11443 } accept" in text
    assert text.rstrip().endswith("tcp dport { 11443 } drop\n    }\n}")


def test_a_gateway_on_a_host_lets_the_other_in_and_needs_no_way_to_itself() -> None:
    both = fleet(gateway=GATEWAY, gateways={"g1": {"host": "a"}, "g2": {"host": "b"}})
    assert opened(firewall_of(both, "a")) == {11443: ("10.0.0.12",)}


def test_further_networks_reach_a_guarded_port_and_other_ports_are_left_alone() -> None:
    allow = [{"port": 11443, "from": ["192.0.2.0/24"]}, {"port": 9100}]
    plan = firewall_of(fleet({"allow": allow}, gateway=GATEWAY, gateways=TWO), "a")
    assert opened(plan) == {11443: ("10.0.0.8", "192.0.2.0/24", "2001:db8::9")}


def test_the_gateways_port_can_be_guarded() -> None:
    one = fleet({"gateway_from": ["10.1.0.0/16"]}, gateway=GATEWAY, gateways=TWO)
    assert opened(firewall_of(one, "gw1")) == {443: ("10.1.0.0/16",)}


def test_a_closed_fleet_opens_what_each_machine_is_for() -> None:
    acme = {**GATEWAY, "tls": {"source": "acme"}}
    one = closed(gateway=acme, gateways=TWO, mirrors={"depot": {"address": "10.0.0.5"}})
    assert opened(firewall_of(one, "a")) == {11443: ("10.0.0.8", "2001:db8::9")}
    assert opened(firewall_of(one, "gw1")) == {80: (), 443: ()}
    (mirror,) = firewall_of(one, "depot").openings
    assert mirror.port == 8480 and "10.0.0.0/8" in mirror.sources
    assert not [one for one in mirror.sources if one.startswith(("127.", "::1"))]


def test_a_host_says_what_differs_and_keeps_the_rest() -> None:
    hosts = {"a": {"firewall": {"ssh_from": ["10.0.0.0/8"], "mode": "closed"}}, "b": {}}
    one = closed({"allow": [{"port": 53, "protocol": "udp"}]}, hosts=hosts)
    plan = firewall_of(one, "a")
    assert plan.ssh_from == ("10.0.0.0/8",)
    assert plan.openings == (Opening(53, (), "udp"),)
    assert firewall_of(one, "b").ssh_from == ()


def test_every_machine_of_the_inventory_gets_its_own() -> None:
    one = closed(gateway=GATEWAY, gateways=TWO, mirrors={"depot": {"address": "10.0.0.5"}})
    machines = dict(fleet_hosts(one, Path("prod.py")))
    plans = {
        name: data["plan"].firewall if "plan" in data else data["firewall_plan"]
        for name, data in machines.items()
    }
    assert {name: plan.mode for name, plan in plans.items()} == dict.fromkeys(
        ("depot", "a", "b", "gw1", "gw2"), "closed"
    )


@pytest.mark.parametrize(
    ("firewall", "words"),
    [
        ({"allow": [{"port": 1, "from": ["10.0.0.1/8"]}]}, "is no address or network"),
        ({"allow": [{"port": 1, "from": ["office.example.com"]}]}, "is no address or network"),
        ({"mode": "off", "allow": [{"port": 1}]}, "closes nothing that `allow:` could open"),
        ({"ssh_from": ["10.0.0.0/8"]}, "is for `mode: closed`; `ports` leaves SSH alone"),
        ({"mode": "open"}, "'off', 'ports' or 'closed'"),
        ({"allow": [{"port": 70000}]}, "less than or equal to 65535"),
    ],
)
def test_what_makes_no_sense_is_refused(firewall: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        fleet(firewall)


def test_names_become_addresses_and_overlapping_networks_one() -> None:
    sources = ("gw.lan", "10.0.0.0/8", "10.0.0.9")
    text = rules(FirewallPlan("closed", (Opening(11443, sources),)))
    assert "ip saddr { 10.0.0.0/8 } tcp dport { 11443 } accept" in text
    assert "ip6 saddr { fd00::7 } tcp dport { 11443 } accept" in text


def test_a_name_without_address_opens_nothing_and_is_a_problem() -> None:
    plan = FirewallPlan("closed", (Opening(11443, ("gone.lan",)),))
    assert "11443" not in rules(plan)
    (said,) = problems(plan, state())
    assert "cannot resolve gone.lan" in said and "as a number" in said


def test_ssh_stays_open_on_every_port_that_was_found() -> None:
    text = rules(FirewallPlan("closed"))
    assert "tcp dport { 22, 2200 } accept" in text and "policy drop" in text
    text = rules(FirewallPlan("closed", ssh_from=("10.0.0.0/8", "fd00::/8")))
    assert "ip saddr { 10.0.0.0/8 } tcp dport { 22, 2200 } accept" in text
    assert "ip6 saddr { fd00::/8 } tcp dport { 22, 2200 } accept" in text


def test_networks_that_leave_this_run_out_are_a_problem() -> None:
    plan = FirewallPlan("closed", ssh_from=("10.0.0.0/8",))
    assert problems(plan, state(client="10.9.9.9")) == []
    (said,) = problems(plan, state(client="192.0.2.4"))
    assert "this run comes from 192.0.2.4, which `ssh_from:` (10.0.0.0/8) would lock out" in said


def state(**changes: Any) -> FirewallState:
    return replace(
        FirewallState(is_root=True, has_nft=True, packager="apt", found=FOUND), **changes
    )


def in_force(plan: FirewallPlan) -> FirewallState:
    file = rules_file(plan, FOUND)
    return state(
        digests={one.path: digest(one) for one in (file, unit_file())},
        table="t" * 64,
        proved=f"{digest(file)} {'t' * 64}",
        is_enabled=True,
        is_active=True,
    )


def test_rules_in_force_are_left_alone_and_any_difference_is_not() -> None:
    plan = FirewallPlan("closed")
    file = rules_file(plan, FOUND)
    assert in_force(plan).has(file)
    for change in (
        {"table": None},
        {"table": "u" * 64},
        {"proved": None},
        {"is_enabled": False},
        {"is_active": False},
        {"is_trial": True},
        {"digests": {}},
    ):
        assert not replace(in_force(plan), **change).has(file), change
    assert not in_force(plan).has(rules_file(FirewallPlan("closed", (Opening(1),)), FOUND))


def test_the_old_rules_are_on_their_way_back_before_the_new_ones_come() -> None:
    steps = try_steps(rules_file(FirewallPlan("closed"), FOUND), state())
    script = "\n".join(step for step in steps if isinstance(step, str))
    order = ("nft -c -f", "systemd-run", "\nnft -f /run/ollama-fleet/firewall/new.nft")
    assert sorted(order, key=script.index) == list(order)
    written = [step.path for step in steps if not isinstance(step, str)]
    assert all(path.startswith("/run/") for path in written), "a boot must find the old ones"
    assert "install" not in script
    assert "install" in "\n".join(
        str(step)
        for step in try_steps(rules_file(FirewallPlan("closed"), FOUND), state(has_nft=False))
    )


def test_what_was_kept_is_kept_before_the_timer_is_stopped() -> None:
    script = "\n".join(step for step in keep_steps(unit_file()) if isinstance(step, str))
    assert script.index("mv ") < script.index(f"systemctl stop {UNDO}.timer")


def test_ports_that_are_closed_now_are_said() -> None:
    found = state(listening={22: "sshd", 9100: "node_exporter", 11443: "nginx"})
    plan = FirewallPlan("closed", (Opening(11443, ("10.0.0.8",)),))
    assert closes(plan, found) == ["9100 (node_exporter)"]
    assert closes(replace(plan, mode="ports"), found) == []


def test_other_firewalls_are_named_with_the_command_that_opens_the_port() -> None:
    plan = FirewallPlan("ports", (Opening(11443, ("10.0.0.8",)),))
    (said,) = advice(plan, state(others={"ufw": "Status: active\n22/tcp ALLOW Anywhere"}))
    assert "`ufw allow proto tcp from 10.0.0.8 to any port 11443`" in said
    (said,) = advice(plan, state(others={"firewalld": "ports: 22/tcp"}))
    assert "--add-rich-rule='rule family=ipv4 source address=10.0.0.8 port port=11443" in said
    anywhere = FirewallPlan("closed", (Opening(443),))
    (said,) = advice(anywhere, state(others={"firewalld": ""}))
    assert "`firewall-cmd --permanent --add-port=443/tcp && firewall-cmd --reload`" in said
    assert not list(advice(plan, state(others={"ufw": "11443/tcp ALLOW 10.0.0.8"})))


RECORDED = {
    "firewall.user": "0",
    "firewall.ours": "/etc/ollama/firewall.nft aa\n/etc/systemd/system/ollama-firewall.service bb\n"
    "proved aa cc\nenabled\nactive\ntable cc",
    "firewall.os": "ID=debian\nVERSION_ID=12",
    "firewall.ssh": "connection 10.77.0.1 40000 10.77.0.5 2222\nport 22\nport 22\nport 2200",
    "firewall.listening": 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=9,fd=3))\n'
    'LISTEN 0 5 127.0.0.1:11434 0.0.0.0:* users:(("ollama",pid=8,fd=3))\n'
    "LISTEN 0 5 [::1]:631 [::]:*\nLISTEN 0 5 *:9100 *:*",
    "firewall.others": "ufw is on\nStatus: active\nfirewalld is on\nports: 80/tcp",
    "firewall.names": "gw.lan 10.0.0.7\ngw.lan fd00::7",
}


def test_a_machine_is_read_from_its_answers() -> None:
    found = read_state({name: Answer(text, 0) for name, text in RECORDED.items()})
    assert found.is_root and found.has_nft and found.packager == "apt"
    assert found.table == "cc" and found.proved == "aa cc"
    assert found.is_enabled and found.is_active and not found.is_trial
    assert found.client == "10.77.0.1"
    assert found.found == Found({"gw.lan": ("10.0.0.7", "fd00::7")}, (22, 2200, 2222))
    assert found.listening == {22: "sshd", 9100: "?"}
    assert set(found.others) == {"ufw", "firewalld"}
    assert not found.is_untouched


def test_a_machine_without_firewall_is_asked_next_to_nothing() -> None:
    assert list(questions(FirewallPlan())) == ["firewall.user", "firewall.ours"]
    assert read_state({"firewall.ours": Answer("no-nft", 0)}).is_untouched
