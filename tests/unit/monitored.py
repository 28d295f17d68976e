"""A small fleet that is monitored, for tests that need one."""

from typing import Any

from ollama_fleet.load import validate
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.yamlfile import YamlFile
from tests.unit.gateways import HOSTS, TWO

MONITORS: dict[str, Any] = {"mon1": {"address": "10.0.0.31"}}


def document(monitors: dict[str, Any] = MONITORS, **keys: Any) -> dict[str, Any]:
    """An inventory of two hosts, two gateways and these monitors; `keys` go over it."""
    return {
        "version": 1,
        "hosts": HOSTS,
        "gateway": {},
        "gateways": TWO,
        "monitoring": {},
        "monitors": monitors,
        **keys,
    }


def fleet(monitors: dict[str, Any] = MONITORS, **keys: Any) -> Fleet:
    """The same, validated."""
    return validate(YamlFile("prod.yml", document(monitors, **keys)))
