"""Addresses and networks as a person writes them. Part of `spec`; imports only the rules.

They end in configurations of nginx, HAProxy and nftables and in shell, and `ipaddress` alone takes any text
at all behind the `%` of an IPv6 address.
"""

import ipaddress
import re

from ollama_fleet.spec.rules import rule_broken

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")


def read_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address without a zone. Raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which is one machine's own word; leave it out")
    return ipaddress.ip_address(text)


def read_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a network, without a zone. Raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which is one machine's own word; leave it out")
    return ipaddress.ip_network(text)


def address_of_machine(text: str) -> str:
    """A name, an IP address, or an IPv6 one with the interface that leads to it."""
    if not (_NAME.fullmatch(text) or _is_ip(text)):
        what = f"{text!r} is no name or IP address; write it like gpu01.lan, 10.0.0.11 or fd00::11"
        raise rule_broken((), what)
    return text


def _is_ip(text: str) -> bool:
    plain, zone_follows, zone = text.partition("%")
    try:
        found = ipaddress.ip_address(plain)
    except ValueError:
        return False
    return not zone_follows or (found.version == 6 and _ZONE.fullmatch(zone) is not None)
