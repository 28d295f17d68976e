"""The ruleset of one machine as text for nftables, and the unit that loads it.

Nothing in it comes from a person but numbers: ports, addresses and networks.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ollama_fleet.planner.firewall import ANYWHERE, FirewallPlan, is_number
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

TABLE = "ollama_fleet"
UNIT = "ollama-firewall.service"
RULES_FILE = "/etc/ollama/firewall.nft"
UNIT_FILE = f"{UNIT_DIR}/{UNIT}"
# By itself in a file, for the rules' file is put whole: what `nft` lists when they are in force.
IN_FORCE_FILE = "/etc/ollama/firewall.in-force"
NFT = "/usr/sbin/nft"
VRRP = 112

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Found:
    """What of a machine decides its rules: the addresses of names, and the ports on which SSH answers."""

    addresses: dict[str, tuple[str, ...]]
    ssh_ports: tuple[int, ...]


def rules_file(plan: FirewallPlan, found: Found) -> HostFile:
    """The ruleset. The same plan and machine give the same bytes."""
    closed = plan.mode == "closed"
    sources = {item: numbers(item.sources, found.addresses) for item in plan.openings}
    guarded = [] if closed else list(_dropped(plan))
    text = render(
        "firewall.nft.j2",
        marker=MARKER,
        table=TABLE,
        closed=closed,
        ssh=_accept(_ports("tcp", found.ssh_ports), plan.ssh_from),
        vrrp=_vrrp(numbers(plan.vrrp_from, found.addresses)),
        accepted=[
            line
            for item, networks in sources.items()
            for line in _accept(_ports(item.protocol, [item.port]), networks)
            # A name without an address opens nothing.
            if networks or item.sources == ANYWHERE
        ],
        dropped=guarded,
    )
    return HostFile(RULES_FILE, text, mode="0600")


def unit_file() -> HostFile:
    """The unit that loads the ruleset at boot."""
    text = render(
        "ollama-firewall.service.j2", marker=MARKER, nft=NFT, path=RULES_FILE, table=TABLE
    )
    return HostFile(UNIT_FILE, text)


def numbers(sources: Iterable[str], addresses: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Sources as networks, names by what they stand for; in order, none within another."""
    found: list[Network] = []
    for source in sources:
        known = (source,) if is_number(source) else addresses.get(source, ())
        found += [ipaddress.ip_network(one, strict=False) for one in known]
    v4 = [one for one in found if isinstance(one, ipaddress.IPv4Network)]
    v6 = [one for one in found if isinstance(one, ipaddress.IPv6Network)]
    collapse = ipaddress.collapse_addresses
    return (*map(_short, collapse(v4)), *map(_short, collapse(v6)))


def _short(network: Network) -> str:
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address if single else network)


def _accept(match: str, sources: Sequence[str]) -> list[str]:
    """Rules that let these sources in, all where there are none; empty where nothing matches."""
    if not match:
        return []
    return [f"{one}{match} accept" for one in (_from(sources) if sources else ("",))]


def _from(sources: Sequence[str]) -> Iterator[str]:
    for family, version in (("ip", 4), ("ip6", 6)):
        own = [one for one in sources if ipaddress.ip_network(one).version == version]
        if own:
            yield f"{family} saddr {{ {', '.join(own)} }} "


def _ports(protocol: str, ports: Iterable[int]) -> str:
    named = ", ".join(map(str, sorted(set(ports))))
    return f"{protocol} dport {{ {named} }}" if named else ""


def _vrrp(sources: Sequence[str]) -> list[str]:
    return [f"{one}meta l4proto {VRRP} accept" for one in _from(sources)]


def _dropped(plan: FirewallPlan) -> Iterator[str]:
    for protocol in ("tcp", "udp"):
        ports = [item.port for item in plan.openings if item.protocol == protocol]
        if ports:
            yield f"{_ports(protocol, ports)} drop"
