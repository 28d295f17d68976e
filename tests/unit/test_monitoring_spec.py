"""What an inventory may say about monitoring, and what the machines are to be then."""

from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.inventory import fleet_hosts, monitoring_among
from ollama_fleet.load import validate
from ollama_fleet.planner.firewall import firewall_of
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.monitoring import monitored_machines, monitoring_of
from ollama_fleet.problems import InputError
from ollama_fleet.yamlfile import YamlFile
from tests.unit.gateways import HOSTS
from tests.unit.monitored import document, fleet

HERE = {"gpu01": {"host": "gpu01"}}


def said_of(document: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        validate(YamlFile("prod.yml", document))
    return str(error.value)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "monitors without settings": (
        document() | {"monitoring": None},
        "monitors: need to know what to be; add `monitoring: {}`",
    ),
    "a host's settings without the fleet's": (
        {"version": 1, "hosts": {"gpu01": HOSTS["gpu01"] | {"monitoring": {"gpu": "dcgm"}}}},
        "hosts.gpu01.monitoring: is for a fleet that is monitored; add `monitoring: {}`",
    ),
    "the name of a host": (
        document({"gpu01": {"address": "10.0.0.31"}}),
        "monitors.gpu01: is the name of a host, too",
    ),
    "the name of a gateway": (
        document({"gw1": {"address": "10.0.0.31"}}),
        "is, as far as certificates tell, the name of gateway gw1, too; rename it",
    ),
    "the name of a mirror": (
        document({"cache": {"address": "10.0.0.31"}}, mirrors={"cache": {}}),
        "monitors.cache: is the name of a mirror, too; rename it",
    ),
    "names that certificates cannot tell apart": (
        document({"m" * 64 + "1": {}, "m" * 64 + "2": {}}),
        "shorten it",
    ),
    "a host that is not there": (
        document({"mon1": {"host": "gpu09"}}),
        "monitors.mon1.host: no host is named 'gpu09'; `hosts:` has gpu01, gpu02",
    ),
    "a host that says how it is reached": (
        document({"mon1": {"host": "gpu01", "address": "10.0.0.31"}}),
        "monitors.mon1.address: `hosts.gpu01` says it; drop it here",
    ),
    "two on one host": (
        document({"mon1": {"host": "gpu01"}, "mon2": {"host": "gpu01"}}),
        "monitors.mon2.host: gpu01 runs monitor 'mon1' already; keep one",
    ),
    "somebody else's on a host of ours": (
        document({"mon1": {"host": "gpu01", "manage": False}}),
        "drop `host` or `manage`",
    ),
    "the port of the hop": (
        document(monitoring={"port": 11443}),
        "monitoring.port: 11443 is used by the way of the gateways",
    ),
    "the port of the model loader": (
        document(monitoring={"port": 11431}),
        "monitoring.port: 11433 is the model loader's on each host",
    ),
    "the port of the metrics": (
        document({"mon1": {"port": 19101}}),
        "monitors.mon1.port: 19101 is used by the metrics (`monitoring: port`)",
    ),
    "the port of the gateway": (
        document(monitoring={"port": 8442}, gateway={"port": 8443}),
        "8443 is used by the gateway (`gateway: port`)",
    ),
    "the port of a mirror": (
        document(monitoring={"port": 8479}, mirrors={"m": {"host": "gpu01"}}),
        "mirrors.m.port: 8480 is used by the metrics",
    ),
    "the port of a slice": (
        document(monitoring={"port": 11500})
        | {
            "hosts": {
                "gpu01": {
                    "address": "10.0.0.1",
                    "slices": [{"name": "a", "gpus": [0], "port": 11501}],
                }
            },
        },
        "hosts.gpu01.slices[0].port: 11501 is used by the metrics",
    ),
    "an address that is none": (document({"mon1": {"listen": "all"}}), "'all' is no IP address"),
    "an alertmanager that is none": (
        document(monitoring={"alertmanagers": ["file:///etc/passwd"]}),
        "monitoring.alertmanagers[0]",
    ),
}


@pytest.mark.parametrize(("document", "said"), WRONG.values(), ids=WRONG)
def test_wrong_monitoring_says_where_and_what_to_do(document: dict[str, Any], said: str) -> None:
    assert said in said_of(document)


def test_every_host_and_every_machine_of_a_gateway_shows_metrics_to_the_monitors() -> None:
    shown = monitored_machines(fleet())

    assert list(shown) == ["gpu01", "gpu02", "gw1", "gw2"]
    assert {plan.monitors for plan in shown.values()} == {("mon1",)}
    assert [name for name, plan in shown.items() if plan.is_gateway] == ["gw1", "gw2"]
    assert [name for name, plan in shown.items() if plan.on_host] == ["gpu01", "gpu02"]


def test_a_host_may_say_otherwise_or_show_nothing() -> None:
    hosts = {
        "gpu01": HOSTS["gpu01"] | {"monitoring": {"gpu": "dcgm", "node_exporter": "site"}},
        "gpu02": HOSTS["gpu02"] | {"monitoring": {"manage": False}},
    }
    made = fleet(hosts=hosts)
    first = monitoring_of(made, "gpu01")

    assert first and (first.gpu, first.node_exporter) == ("dcgm", "site")
    assert monitoring_of(made, "gpu02") is None
    assert "gpu02" not in monitored_machines(made)


def test_without_monitoring_nothing_is_shown() -> None:
    made = fleet(monitors={}, monitoring=None)

    assert monitored_machines(made) == {}
    assert plan_fleet(made).required().hosts["gpu01"].monitoring is None


def test_slices_keep_out_of_the_way_of_the_metrics() -> None:
    made = fleet(monitoring={"port": 11434})
    ports = [item.port for item in plan_fleet(made).required().hosts["gpu01"].slices]

    assert ports == [11441, 11442]


def test_only_monitors_reach_the_metrics() -> None:
    openings = {item.port: item.sources for item in firewall_of(fleet(), "gpu01").openings}

    assert openings[19100] == ("10.0.0.31",)
    assert 19101 not in openings


def test_nobody_reaches_the_metrics_where_nobody_has_to() -> None:
    opening = firewall_of(fleet(HERE), "gpu01").openings[-1]

    assert opening.port == 19100
    assert opening.sources == ("127.0.0.0/8", "::1/128")


def test_a_closed_monitor_lets_people_in_where_it_listens_for_them() -> None:
    closed = {"mode": "closed"}
    shut = firewall_of(fleet({"mon1": {"firewall": closed}}), "mon1")
    door = {"listen": "10.0.0.31", "users": {"ann": f"$2y$10${'a' * 53}"}}
    open_ = firewall_of(fleet({"mon1": {"firewall": closed, **door}}), "mon1")

    assert [item.port for item in shut.openings] == []
    assert [item.port for item in open_.openings] == [9090]


def test_monitors_are_a_group_of_machines(tmp_path: Path) -> None:
    two = {"mon1": {"address": "10.0.0.31"}, "mon2": {"host": "gpu02"}}
    hosts = fleet_hosts(fleet(two), tmp_path / "prod.yml")
    found = dict(monitoring_among(hosts))

    assert list(found) == ["gpu02", "mon1"]
    assert found["mon1"]["ssh_hostname"] == "10.0.0.31"
    assert found["gpu02"]["monitor_plan"].name == "mon2"
    assert "plan" not in found["mon1"]
    assert dict(hosts)["gw1"]["monitoring_plan"].authority == str(tmp_path / "prod.ca")
    assert dict(hosts)["gpu01"]["plan"].monitoring.authority == str(tmp_path / "prod.ca")


def test_a_monitor_that_is_given_up_is_cleaned(tmp_path: Path) -> None:
    hosts = dict(fleet_hosts(fleet({"mon1": {"state": "absent"}}), tmp_path / "prod.yml"))

    assert hosts["mon1"]["plan"].removal is not None
    assert hosts["gpu01"]["plan"].monitoring.monitors == ()
