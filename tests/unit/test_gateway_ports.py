"""On a host the slices, the hop and the gateway each have ports of their own."""

from typing import Any

import pytest

from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.problems import InputError
from ollama_fleet.yamlfile import YamlFile

TEN = [{"name": f"s{gpu}", "gpus": [gpu], "models": ["qwen3:8b"]} for gpu in range(11)]
FAR: dict[str, Any] = {"gw1": {"address": "10.0.0.21"}}


def ports(gateways: dict[str, Any], host: dict[str, Any], **gateway: Any) -> list[int]:
    content = {"version": 1, "gateway": gateway, "gateways": gateways, "hosts": {"a": host}}
    plan = plan_fleet(validate(YamlFile("prod.yml", content))).required().hosts["a"]
    return [item.port for item in plan.slices]


def test_slices_keep_out_of_the_way_of_the_hop_and_of_the_gateway() -> None:
    """The tenth of them would have the hop's."""
    assert ports(FAR, {"slices": TEN}) == [*range(11434, 11443), 11444, 11445]
    assert 11436 not in ports({}, {"slices": TEN}, port=11436)


def test_nothing_moves_where_nobody_else_has_the_port() -> None:
    assert ports({}, {"slices": TEN}) == [*range(11434, 11445)]
    assert ports(FAR, {"slices": TEN}, port=11436)[2] == 11436, "the gateway is elsewhere"


def test_wished_slices_keep_out_of_the_way_too() -> None:
    wishes = [{"model": "qwen3:8b", "replicas": 11}]
    found = ports(FAR, {"gpus": [{"model": "RTX 3090", "count": 11}], "wishes": wishes})
    assert len(set(found)) == 11 and 11443 not in found


@pytest.mark.parametrize(
    ("gateways", "gateway", "more", "said"),
    [
        (FAR, {"hop_port": 11500}, {}, "hosts.a.slices[0].port: 11500 is used by the way"),
        ({}, {"port": 11500}, {}, "hosts.a.slices[0].port: 11500 is used by the gateway"),
        (FAR, {"hop_port": 11433}, {}, "gateway.hop_port: 11433 is the model loader's"),
        ({}, {"port": 11433}, {}, "gateway.port: 11433 is the model loader's"),
        ({"gw1": {"host": "a"}, **{"gw2": FAR["gw1"]}}, {"port": 11443}, {}, "the gateway's on a"),
        ({}, {"port": 8481}, {"mirrors": {"m": {"host": "a", "port": 8480}}}, "mirrors.m.port"),
    ],
)
def test_two_programs_on_one_port_are_refused(
    gateways: dict[str, Any], gateway: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    host = {"slices": [{"name": "chat", "gpus": [0], "port": 11500}]}
    content = {"version": 1, "gateway": gateway, "gateways": gateways, "hosts": {"a": host}, **more}
    with pytest.raises(InputError) as error:
        validate(YamlFile("prod.yml", content))
    assert said in str(error.value)
