"""A small fleet with a gateway, for tests that need one."""

from typing import Any

from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, gateways_of
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.yamlfile import YamlFile

HOSTS: dict[str, Any] = {
    "gpu01": {
        "address": "10.0.0.11",
        "gpus": [{"model": "RTX 3090", "count": 2}],
        "slices": [
            {
                "name": "chat",
                "gpus": [0],
                "models": ["qwen3:8b", "nomic-embed-text"],
                "parallel": 2,
            },
            {"name": "code", "gpus": [1], "models": ["qwen2.5-coder:7b"]},
        ],
    },
    "gpu02": {
        "address": "10.0.0.12",
        "gpus": [{"model": "RTX 3060"}],
        "slices": [{"name": "chat", "gpus": [0], "models": ["qwen3:8b"]}],
    },
}
TWO: dict[str, Any] = {"gw1": {"address": "10.0.0.21"}, "gw2": {"address": "10.0.0.22"}}


def document(machines: dict[str, Any] = TWO, **gateway: Any) -> dict[str, Any]:
    """An inventory of two hosts and these gateways."""
    return {"version": 1, "hosts": HOSTS, "gateway": gateway, "gateways": machines}


def fleet(machines: dict[str, Any] = TWO, **gateway: Any) -> Fleet:
    """The same, validated."""
    return validate(YamlFile("prod.yml", document(machines, **gateway)))


def gateways(machines: dict[str, Any] = TWO, **gateway: Any) -> dict[str, GatewayPlan]:
    """The plans of its gateways."""
    made = fleet(machines, **gateway)
    return gateways_of(made, plan_fleet(made).required().hosts)
