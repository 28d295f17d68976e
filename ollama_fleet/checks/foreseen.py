"""Which results a verification of a machine will have, as far as its plan tells: for runners that name each
result before anybody is asked.

What depends on the machine (its runtimes, its switches) is not foreseen; nor is a check that this table
does not know yet. Runners show those results, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ollama_fleet.authority.places import (
    gateway_places,
    hop_places,
    monitor_places,
    monitoring_places,
)
from ollama_fleet.checks import own_machine
from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.machine import Machine
from ollama_fleet.checks.outcome import Mode
from ollama_fleet.gateway.gateway import gateway_services
from ollama_fleet.gateway.machine import Machine as GatewayMachine
from ollama_fleet.monitor.services import services_of
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.selfcheck.files import is_wanted
from ollama_fleet.watching.places import is_repaired, is_watched

OF_HOST = (
    *("gpu count", "driver", "driver flavour", "persistence", "next boot", "nvidia-uvm"),
    *("stock unit", "disk", "clock", "ports"),
    *(
        "release files",
        "files",
        "inventory",
        "drop-ins",
        "in force",
        "strange units",
        "other servers",
    ),
    "other stores",
)
WITH_SLICES = ("release files", "foreign processes", "unlisted models")
OF_GPU = ("gpu health", "ecc", "row remapping", "throttling", "pcie width", "xid")
OF_SLICE = (
    *("unit", "restarts", "hardening", "environment", "isolation", "ports", "gpu discovery"),
)
OF_API = ("api", "models")
WITH_MODELS = ("inference", "speed", "weights on gpu")
OF_GATEWAY = ("slices", "inference", "front", "keys", "ports", "files", "drop-ins", "in force")
OF_MONITOR = ("targets", "alert rules", "alerts", "ports", "files", "drop-ins", "in force")
OF_MIRROR = ("unit", "configuration", "answers", "cache disk")


@dataclass(frozen=True)
class Foreseen:
    """One result to come. Of GPUs only their order is known beforehand: `gpu 0` is the first on the
    PCI bus."""

    machine: str
    subject: str
    check: str


def foreseen(machine: Machine, mode: Mode) -> list[Foreseen]:
    """The results of a machine that can be named now; a quick verification has fewer."""
    found: list[tuple[str, str]] = []
    if plan := machine.slices_plan:
        found += _of_host(plan)
    if machine.gateway:
        found += _of_gateway(machine.gateway)
    if machine.gateway and machine.shown:
        shown = ("metrics", *(place.what for place in monitoring_places(machine.shown)))
        found += [(f"gateway {machine.gateway.name}", check) for check in shown]
    if machine.mirror:
        found += [(f"mirror {machine.mirror.name}", check) for check in OF_MIRROR]
    if machine.monitor:
        found += _of_monitor(machine.monitor)
    if machine.teller:
        subject = own_machine.subject_of(machine.teller)
        found += [(subject, check) for check in own_machine.CHECKS]
    return [
        Foreseen(machine.name, subject, check)
        for subject, check in dict.fromkeys(found)
        if mode == "full" or kind_of(check).quick
    ]


def _of_monitor(plan: MonitorPlan) -> Iterator[tuple[str, str]]:
    subject = f"monitor {plan.name}"
    yield from ((subject, one.unit.removesuffix(".service")) for one in services_of(plan))
    yield from ((subject, check) for check in OF_MONITOR)
    if not plan.is_loopback:
        yield subject, "monitor door"
    yield from ((subject, place.what) for place in monitor_places(plan))


def _of_host(plan: HostPlan) -> Iterator[tuple[str, str]]:
    yield from (("host", check) for check in OF_HOST)
    if plan.hop:
        yield "host", "ollama-hop"
        yield from (("host", place.what) for place in hop_places(plan.hop))
    if is_watched(plan):
        yield "host", "ollama-health"
    if is_repaired(plan):
        yield "host", "ollama-watchdog"
    if is_wanted(plan):
        yield "host", "self check"
    if (driver := plan.provision.driver).manage and (driver.version or driver.branch):
        yield "host", "driver pin"
    if plan.firewall.mode != "off":
        yield from (("host", check) for check in ("ollama-firewall", "firewall rules"))
    if plan.monitoring:
        yield "host", "metrics"
        yield from (("host", place.what) for place in monitoring_places(plan.monitoring))
    if plan.slices:
        yield from (("host", check) for check in WITH_SLICES)
    if plan.store.locked:
        yield "host", "locked weights"
    cut = dict(plan.mig)
    for position in range(gpu_count(plan)):
        yield from ((f"gpu {position}", check) for check in OF_GPU)
        if position in cut:
            yield f"gpu {position}", "mig layout"
    for item in plan.slices:
        yield from ((item.name, check) for check in _of_slice(item))


def gpu_count(plan: HostPlan) -> int:
    """GPUs that the plan knows of; 0 where it names none."""
    if plan.expected_gpus is not None:
        return sum(count for _, count in plan.expected_gpus)
    used = [gpu for item in plan.slices for gpu in item.gpus if isinstance(gpu, int)]
    return max(used, default=-1) + 1


def _of_slice(item: SlicePlan) -> Iterator[str]:
    yield from (*OF_SLICE, *OF_API)
    if item.preload:
        yield "warm"
    if item.models:
        yield from WITH_MODELS


def _of_gateway(plan: GatewayPlan) -> Iterator[tuple[str, str]]:
    units = (one.unit for one in gateway_services(plan, GatewayMachine()))
    checks = [*(unit.removesuffix(".service") for unit in units), *OF_GATEWAY]
    checks += [place.what for place in gateway_places(plan)]
    yield from ((f"gateway {plan.name}", check) for check in checks)
