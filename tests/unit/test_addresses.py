"""Addresses of an inventory end in configurations and shell: nothing but addresses gets there."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from ollama_fleet.load import validate
from ollama_fleet.problems import InputError
from ollama_fleet.spec.ssh import Address
from ollama_fleet.yamlfile import YamlFile
from tests.unit.gateways import HOSTS, TWO

GOOD = ["gpu01", "gpu_01.lan", "GPU01.example.org.", "10.0.0.1", "fd00::1", "::1", "fe80::1%eth0.5"]
BAD = [
    "10.0.0.1:80\n    evil",
    "10.0.0.1 evil",
    "10.0.0.1#",
    "fd@3",
    "unix@/run/x.sock",
    "/run/x.sock",
    "-oProxyCommand=evil",
    "$(evil)",
    "a;b",
    "gpu01\n",
    "",
    "fe80::1%x];\n evil",
    "10.0.0.1%eth0",
    "gpu01%eth0",
    "gpü01",
]
ZONE = "fe80::1%x]:1; } evil {\n"


@pytest.mark.parametrize("text", GOOD)
def test_a_machine_has_a_name_or_an_address(text: str) -> None:
    assert TypeAdapter(Address).validate_python(text) == text


@pytest.mark.parametrize("text", BAD)
def test_nothing_else_is_a_machines_address(text: str) -> None:
    with pytest.raises(ValueError, match="no name or IP address"):
        TypeAdapter(Address).validate_python(text)


def said(**changed: Any) -> str:
    document = {"version": 1, "hosts": HOSTS, "gateway": {}, "gateways": TWO, **changed}
    with pytest.raises(InputError) as refused:
        validate(YamlFile("prod.yml", document))
    return str(refused.value)


def test_what_stands_behind_an_ipv6_address_cannot_carry_a_configuration() -> None:
    """`ipaddress` takes any text at all as a zone, and counts `::1%evil` as loopback."""
    assert "gateway.listen" in said(gateway={"listen": ZONE})
    assert "gateway.listen" in said(gateway={"listen": "::1%x", "keys": "none"})
    shared = {"address": f"{ZONE}/64"}
    assert "gateway.virtual_address.address" in said(gateway={"virtual_address": shared})
    for networks in ({"gateway_from": [ZONE]}, {"allow": [{"port": 1, "from": [ZONE]}]}):
        assert "firewall." in said(firewall=networks)
    assert "mirrors.depot.listen" in said(mirrors={"depot": {"listen": ZONE}})
    assert "mirrors.depot.allow" in said(mirrors={"depot": {"allow": [ZONE]}})
