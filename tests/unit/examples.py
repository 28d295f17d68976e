"""A small fleet, its hardware and its answers, for tests that need one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ollama_fleet.hardware.found import Gpu, Hardware, read_hardware
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.fleet import plan_host
from ollama_fleet.planner.plan import BoundSlice, HostPlan, Release
from ollama_fleet.questions import Answer
from ollama_fleet.services.service import Service, files_of
from ollama_fleet.spec.fleet import HostSpec
from ollama_fleet.templating import HostFile
from ollama_fleet.watch_services import watch_services

DIGEST = "ab" * 32
RELEASE = Release("0.32.15", {"amd64": DIGEST}, "http://mirror/releases", None)
UUIDS = tuple(f"GPU-0000000{n}-1111-2222-3333-444444444444" for n in range(8))


def gpu(position: int, **changes: object) -> Gpu:
    """An RTX 3090 at `position` in PCI order. Its minor is not its index, as on real boards."""
    found = Gpu(
        index=position,
        uuid=UUIDS[position],
        name="NVIDIA GeForce RTX 3090",
        pci_bus_id=f"0000:{0x10 + position:02x}:00.0",
        minor=7 - position,
        driver_version="580.95.05",
        memory_total_mib=24576,
        memory_used_mib=1,
        compute_cap="8.6",
        temperature_c=40,
        persistence=True,
        ecc_uncorrected=None,
    )
    return replace(found, **changes)


def hardware(count: int) -> Hardware:
    """A healthy host of `count` GPUs."""
    gpus = tuple(gpu(position) for position in range(count))
    return Hardware(gpus, tuple(item.pci_bus_id for item in gpus), "580.95.05", uvm_loaded=True)


def host_plan(*slices: dict, **host: object) -> HostPlan:
    """A plan of one host with `slices` as in the YAML."""
    spec = HostSpec.model_validate({"slices": list(slices), **host})
    return replace(plan_host("gpu01", spec), release=RELEASE)


def bound(plan: HostPlan, count: int = 4) -> tuple[BoundSlice, ...]:
    """`plan` on a host of `count` GPUs."""
    return bind(plan, hardware(count))


def service_answers(
    prefix: str, services: Sequence[Service], files: Sequence[HostFile]
) -> dict[str, str]:
    """Services as they are to be, in files and in force."""
    every = [*files, *files_of(services)]
    modes = [f"{file.mode.lstrip('0')} {file.path}" for file in every]
    sums = [f"{hashlib.sha256(file.text.encode()).hexdigest()}  {file.path}" for file in every]
    units = [
        f"Id={service.unit}\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no"
        for service in services
    ]
    return {
        f"{prefix}.files": "\n".join([*modes, *sums]),
        f"{prefix}.units": "\n\n".join(units),
        **{f"{prefix}.{service.unit}": service.digest for service in services if service.asks},
    }


def watch_answers(plan: HostPlan, said: Mapping[str, str]) -> dict[str, str]:
    """The prober and the watchdog as a deploy leaves them on a host that has said so much."""
    found = read_hardware({name: Answer(text) for name, text in said.items()})
    services = watch_services(plan, bind(plan, found), found)
    return service_answers("watch", services, [])
