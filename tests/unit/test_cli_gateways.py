"""What `fleet check` and `fleet plan` say of gateways and of the models behind them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.report.gateways import gateway_lines
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.gateways import TWO, document, gateways


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_gateways_are_shown_with_their_models(tmp_path: Path, verb: str) -> None:
    path = written(tmp_path, document(names=["llm.example.com"]))
    shown = fleet(verb, path).stdout
    assert "gw1 (10.0.0.21)  gateway https://llm.example.com\n" in shown
    assert "gw2 (10.0.0.22)  gateway https://llm.example.com\n" in shown
    assert "qwen3:8b                 3 at once: gpu01.chat 2 (weight 256), gpu02.chat 1" in shown
    assert "qwen2.5-coder:7b         1 at once: gpu01.code 1; no other while that is" in shown


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_programs_get_the_same(tmp_path: Path, verb: str) -> None:
    machines = {**TWO, "gw1": {"host": "gpu01"}, "lb1": {"address": "10.0.0.5", "manage": False}}
    told = fleet_json(verb, written(tmp_path, document(machines, port=8443)))
    assert told["gateways"] == [
        {
            "name": "gw1",
            "host": "gpu01",
            "address": "10.0.0.11",
            "url": "https://10.0.0.11:8443",
            "managed": True,
        },
        {
            "name": "gw2",
            "host": "gw2",
            "address": "10.0.0.22",
            "url": "https://10.0.0.22:8443",
            "managed": True,
        },
        {
            "name": "lb1",
            "host": "lb1",
            "address": "10.0.0.5",
            "url": None,
            "managed": False,
        },
    ]
    pools = {pool["model"]: pool["slices"] for pool in told["pools"]}
    assert set(pools) == {"nomic-embed-text:latest", "qwen2.5-coder:7b", "qwen3:8b"}
    assert pools["qwen3:8b"][0] == {"slice": "gpu01.chat", "parallel": 2, "weight": 256}
    assert pools["qwen3:8b"][1]["weight"] < 256


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_a_fleet_without_a_gateway_has_none(tmp_path: Path, verb: str) -> None:
    content = document()
    path = written(tmp_path, {key: content[key] for key in ("version", "hosts")})
    assert "gateway" not in fleet(verb, path).stdout
    told = fleet_json(verb, path)
    assert told["gateways"] == [] and told["pools"] == []


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_a_gateway_that_nobody_can_call_yet_says_so(tmp_path: Path, verb: str) -> None:
    path = written(tmp_path, document())
    assert "nobody has a key for it yet: `fleet key add" in fleet(verb, path).stdout
    path.with_suffix(".py").write_text("")
    fleet("key", "add", path, "ci", "--no-deploy")
    assert "nobody has a key" not in fleet(verb, path).stdout
    open_to_all = document({"gw1": {"host": "gpu01"}}, listen="127.0.0.1", keys="none")
    path.with_suffix(".keys.yml").unlink()
    assert "nobody has a key" not in fleet(verb, written(tmp_path, open_to_all)).stdout


def test_a_plan_of_one_host_is_of_that_host(tmp_path: Path) -> None:
    assert "gateway" not in fleet("plan", written(tmp_path, document()), "--host", "gpu02").stdout


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"names": ["llm.example.com", "two.example.com"]}, "https://llm.example.com"),
        ({}, "https://10.0.0.21"),
        ({"listen": "127.0.0.1", "keys": "none"}, "https://127.0.0.1"),
        ({"listen": "::1", "tls": {"source": "none"}, "port": 8080}, "http://[::1]:8080"),
        ({"virtual_address": {"address": "10.0.0.50/24"}}, "https://10.0.0.50"),
    ],
)
def test_the_address_is_the_one_that_clients_call(settings: dict[str, Any], url: str) -> None:
    assert gateways(**settings)["gw1"].url == url


def test_a_model_on_many_slices_is_one_line() -> None:
    plan = gateways()["gw1"]
    pool = next(pool for pool in plan.pools if pool.model == "qwen3:8b")
    object.__setattr__(pool, "members", pool.members * 20)
    (line,) = [line for line in gateway_lines([plan], []) if "qwen3:8b" in line]
    assert "60 at once" in line and line.endswith("and 32 more") and line.count("gpu0") == 8
