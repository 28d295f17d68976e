"""Inventories with a gateway, and those that the pages about it show: they are what they say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.load import load_fleet, validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, engines_of, gateways_of
from ollama_fleet.yamlfile import YamlFile
from tests.unit.fleet_cli import fleet
from tests.unit.gateways import HOSTS

ROOT = Path(__file__).parents[2]
FILES = {
    path.stem.removeprefix("gateway-"): path
    for path in (ROOT / "inventory/examples").glob("gateway-*.yml")
}
PAGES = ("docs/gateway.md", "docs/high-availability.md", "docs/export.md", "README.md")


def gateways(name: str) -> dict[str, GatewayPlan]:
    made = load_fleet(FILES[name])
    return gateways_of(made, plan_fleet(made).required().hosts)


def test_every_example_is_known_here() -> None:
    assert set(FILES) == {"one-host", "three-hosts", "shared-address", "own-engine"}
    assert all(path.read_text().startswith("# ") for path in FILES.values())


def test_one_host_is_its_own_gateway() -> None:
    (plan,) = gateways("one-host").values()
    assert (plan.host, plan.on_host, plan.port) == ("gpu01", True, 443)
    assert [pool.model for pool in plan.pools] == [
        "nomic-embed-text:latest",
        "qwen2.5-coder:7b",
        "qwen3:8b",
    ]


def test_a_model_of_three_hosts_is_weighted_by_their_speed() -> None:
    (plan,) = gateways("three-hosts").values()
    (pool,) = plan.pools
    weights = {member.upstream.partition(".")[0]: member.weight for member in pool.members}
    assert len(pool.members) == 4 and weights["gpu03"] > weights["gpu01"] > weights["gpu02"]


def test_two_gateways_share_an_address() -> None:
    shared = [plan.virtual_address for plan in gateways("shared-address").values()]
    assert [one and (one.ip, one.own) for one in shared] == [
        ("10.0.0.50", "10.0.0.11"),
        ("10.0.0.50", "10.0.0.12"),
    ]


def test_an_engine_of_the_site_gets_its_configuration() -> None:
    made = load_fleet(FILES["own-engine"])
    plans = plan_fleet(made).required().hosts
    assert not gateways_of(made, plans) and list(engines_of(made, plans)) == ["lb1"]
    text = fleet("export", FILES["own-engine"], "--to", "haproxy").stdout
    assert "timeout queue 300s" in text


def shown() -> list[Any]:
    """The YAML of the pages that says something of a gateway."""
    return [
        pytest.param(block, id=f"{page}-{order}")
        for page in PAGES
        for order, block in enumerate(
            re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), flags=re.S)
        )
        if "gateway:" in block
    ]


@pytest.mark.parametrize("block", shown())
def test_what_pages_show_is_an_inventory(block: str) -> None:
    document = yaml.safe_load(re.sub(r"slices: \[ … \]", "slices: []", block))
    hosts = {"gpu01": HOSTS["gpu01"]} if "gateways" not in document else HOSTS
    validate(YamlFile("page.yml", {"version": 1, "hosts": hosts, **document}))
