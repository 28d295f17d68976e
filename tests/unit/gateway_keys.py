"""A fleet with a gateway, and keys for it, for tests that need them."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from ollama_fleet.keys.spec import KeySpec
from ollama_fleet.load import validate
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, gateways_of
from ollama_fleet.yamlfile import YamlFile

MADE = date(2026, 11, 28)
LOOPBACK = {"listen": "127.0.0.1", "tls": {"source": "none"}}


def inventory_of(gateway: dict[str, Any] | None = None) -> dict[str, Any]:
    """One host with two models; nobody is at its address."""
    slices = [
        {"name": "chat", "gpus": [0], "models": ["qwen3:8b", "bge-m3"]},
        {"name": "code", "gpus": [1], "models": ["qwen2.5-coder:7b"]},
    ]
    host = {"address": "127.0.0.1", "ssh": {"port": 1}, "slices": slices}
    said = {} if gateway is None else {"gateway": gateway}
    return {"version": 1, **said, "hosts": {"gpu01": host}}


def write_inventory(folder: Path, gateway: dict[str, Any] | None = None) -> Path:
    """The same as files."""
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(inventory_of(LOOPBACK if gateway is None else gateway)))
    loader = "from ollama_fleet.inventory import load\n\nhosts = load(__file__)\n"
    path.with_suffix(".py").write_text(loader)
    return path


def gateway_plan(**changes: Any) -> GatewayPlan:
    """The plan of that fleet's gateway."""
    fleet = validate(YamlFile("prod.yml", inventory_of({**LOOPBACK, **changes})))
    (plan,) = gateways_of(fleet, plan_fleet(fleet).required().hosts).values()
    return plan


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def spec(key: str, **values: Any) -> KeySpec:
    """The entry of a key in the file."""
    return KeySpec.model_validate({"sha256": digest(key), "created": MADE, **values})


def known(name: str, **values: Any) -> ApiKey:
    """A key as gateways know it; the key itself is its name."""
    return spec(name, **values).as_known(name)
