"""A fleet as the live view saw it: frames recorded on hosts of the lab, with the plans that they had.

`tp1` has two RTX 3090 and is the gateway; `tp2` an A100 that is cut in three.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, gateways_of
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.top.frame import Frame, read_frame
from ollama_fleet.top.gather import Watched, fleet_now
from ollama_fleet.top.model import FleetNow, MachineNow
from ollama_fleet.top.pace import Pace
from ollama_fleet.yamlfile import YamlFile

DATA = Path(__file__).parent / "data/top"
INVENTORY = {
    "version": 1,
    "gateway": {"listen": "127.0.0.1", "port": 8080, "tls": {"source": "none"}, "keys": "none"},
    "gateways": {"gw": {"host": "tp1"}},
    "hosts": {
        "tp1": {
            "address": "10.77.0.211",
            "gpus": [{"model": "RTX 3090", "count": 2}],
            "slices": [
                {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"], "parallel": 2},
                {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen2.5-coder:7b"]},
            ],
        },
        "tp2": {
            "address": "10.77.0.212",
            "gpus": [{"model": "A100 40GB"}],
            "mig": [{"gpus": [0], "profiles": ["3g.20gb", "2g.10gb", "2g.10gb"]}],
            "wishes": [
                {"name": "large", "model": "qwen3:8b", "mig": "3g.20gb", "context": 8192},
                {"name": "small", "model": "qwen3:0.6b", "mig": "2g.10gb", "replicas": 2},
            ],
        },
    },
}


@cache
def plans() -> tuple[dict[str, HostPlan], GatewayPlan]:
    """Hosts' plans by name, and the gateway's."""
    fleet = validate(YamlFile("test.yml", INVENTORY))
    hosts = dict(plan_fleet(fleet).required().hosts)
    return hosts, gateways_of(fleet, hosts)["gw"]


def lines_of(name: str) -> list[str]:
    """The lines of a recorded frame."""
    return (DATA / f"{name}.frame").read_text(encoding="utf-8").split("\n")


def recorded(name: str) -> Frame:
    """A recorded frame."""
    found = read_frame(lines_of(name))
    assert found
    return found


def watched(host: str, *frames: str) -> Watched:
    """A machine with these recorded frames, two seconds apart."""
    hosts, gateway = plans()
    roles = ("host", "gateway") if host == "tp1" else ("host",)
    one = Watched(host, roles, hosts[host], gateway if host == "tp1" else None, Pace(2))
    for nth, name in enumerate(frames):
        one.take(recorded(name), 2.0 * nth)
    return one


def fleet_of(*machines: Watched) -> FleetNow:
    """The fleet as it is half a second after the last frame."""
    last = max((one.at or 0 for one in machines), default=0)
    return fleet_now("test.yml", "2026-11-28T16:08:55+00:00", machines, last + 0.5)


def machine_of(host: str, *frames: str) -> MachineNow:
    """One machine of it."""
    return fleet_of(watched(host, *frames)).machines[0]


def healthy() -> FleetNow:
    """Both hosts, under load."""
    return fleet_of(watched("tp1", "gateway", "gateway1"), watched("tp2", "mig", "mig1"))


def troubled() -> FleetNow:
    """A GPU that is lost, one that is too hot, a slice that is down, a host that nobody reaches."""
    dark = watched("tp2")
    dark.lose("cannot be reached: timed out; is it up, and is the address right?")
    return fleet_of(watched("tp1", "lost-gpu"), watched("tp2", "dead-slice"), dark)


def large(hosts: int) -> FleetNow:
    """As many machines as one likes, of both kinds in turn."""
    both = healthy().machines
    return replace(
        healthy(),
        machines=tuple(replace(both[n % 2], name=f"gpu{n:03}") for n in range(hosts)),
    )


def said(machine: MachineNow) -> Sequence[tuple[str, str, str, str]]:
    """Its alarms, short."""
    return [(one.subject, one.check, one.severity, one.words) for one in machine.alarms]
