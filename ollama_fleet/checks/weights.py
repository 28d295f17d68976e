"""Where the weights lie: on the slice's own GPUs, or on its own MIG instance, and nowhere else.

`/api/ps` alone is never believed: when Ollama cannot read its runner's log it reports the whole model
as being on the GPU. The driver's list of processes says whose memory is where; for an instance, which
most drivers leave out of that list, its report does.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ollama_fleet.checks import estimate
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.requests import documents
from ollama_fleet.hardware.found import GpuProcess, normal_bus_id, parse_processes
from ollama_fleet.planner.plan import BoundSlice

# Weights that are resident in other than the slice's own GPUs, or in RAM, show as a gap between what
# Ollama says lies on the GPU and what the driver says its processes hold there.
LEAST_SHARE = 0.5
OFF = (
    "see `ollama-slice NAME ps` for what is loaded, `fleet plan` for the arithmetic: another quantisation "
    "under the same name, or a second runner"
)
# A GPU instance: PCI address of its GPU and its id.
Seat = tuple[str, int]


@dataclass(frozen=True)
class Held:
    """What is on a slice's GPUs: MiB, None where no driver tells, and where else its processes are."""

    mib: int | None
    strays: tuple[str, ...]


@dataclass(frozen=True)
class Instances:
    """Use of a host's MIG instances: MiB in use on each, and the one that each process is on."""

    used_mib: Mapping[Seat, int]
    seats: Mapping[int, Seat]


def read_instances(text: str) -> Instances:
    """Lines `instance <gpu> <gi> <MiB>` and `process <gpu> <gi> <pid>`; what is no number is left out."""
    used: dict[Seat, int] = {}
    seats: dict[int, Seat] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and words[2].isdigit() and words[3].isdigit():
            seat = (normal_bus_id(words[1]), int(words[2]))
            if words[0] == "instance":
                used[seat] = int(words[3])
            elif words[0] == "process":
                seats[int(words[3])] = seat
    return Instances(used, seats)


def held_by(subject: Subject, item: BoundSlice) -> tuple[Held, bool]:
    """What a slice holds, and whether it has any process on a GPU."""
    processes = parse_processes(subject.text("apps"))
    owner = _owners(subject.text("owners"))
    own = [process for process in processes if owner.get(process.pid) == item.plan.unit]
    return (_on_instance(subject, item, own) if item.seat else _on_gpus(item, own)), bool(own)


def _weights(subject: Subject) -> Iterator[CheckResult]:
    for item in subject.slices:
        if not item.plan.models or _is_unasked(subject, item):
            continue
        ps = documents(subject.text("api")).get(f"{item.plan.url}/api/ps", {})
        yield _judged(subject, item, ps.get("models") or [])


def _is_unasked(subject: Subject, item: BoundSlice) -> bool:
    """Whether nothing is in its memory, and nobody has asked it for anything."""
    ps = documents(subject.text("api")).get(f"{item.plan.url}/api/ps")
    return "generations" not in subject.answers and ps is not None and not ps.get("models")


def _judged(subject: Subject, item: BoundSlice, loaded: list[dict[str, Any]]) -> CheckResult:
    held, runs = held_by(subject, item)
    size_mib = sum(int(model.get("size", 0)) for model in loaded) // 2**20
    on_gpu_mib = sum(int(model.get("size_vram", 0)) for model in loaded) // 2**20
    planned = estimate.planned_mib(subject, item, loaded)
    off = bool(planned and held.mib and estimate.is_off(held.mib, planned, len(loaded)))
    enough = size_mib if held.mib is None else held.mib >= max(1, LEAST_SHARE * size_mib)
    well = runs and not held.strays and on_gpu_mib == size_mib and bool(enough)
    return subject.result(
        item.plan.name,
        "weights on gpu",
        good=well and not off,
        expected=f"all of the model on {item.place}"
        + (f", {planned:.0f} MiB by the plan" if planned else ""),
        found=_found(item, held, planned) + f"; Ollama says {on_gpu_mib} of {size_mib} MiB",
        remedy=_remedy(item) if not well else OFF,
        warns=well,
    )


def _found(item: BoundSlice, held: Held, planned: float | None) -> str:
    amount = "an amount that the driver does not tell is" if held.mib is None else f"{held.mib} MiB"
    found = f"{amount} held on {'its instance' if item.seat else 'its GPUs'}"
    if held.mib and planned:
        found += f", {estimate.difference(held.mib, planned)}"
    return found + (f", also on {', '.join(held.strays)}" if held.strays else "")


def _remedy(item: BoundSlice) -> str:
    return (
        "smaller context, q8_0 cache, a smaller model or more GPUs; if it should fit, see "
        f"`journalctl -u {item.plan.unit} | grep 'inference compute'`"
    )


def _on_gpus(item: BoundSlice, own: list[GpuProcess]) -> Held:
    here = [process.used_mib for process in own if process.gpu_uuid in item.uuids]
    strays = sorted({process.gpu_uuid for process in own if process.gpu_uuid not in item.uuids})
    return Held(sum(mib or 0 for mib in here), tuple(strays))


def _on_instance(subject: Subject, item: BoundSlice, own: list[GpuProcess]) -> Held:
    """Drivers name the instance or its GPU beside a process, and may tell no memory there."""
    assert item.seat
    gpu = next((g for g in subject.hardware.gpus if g.pci_bus_id == item.seat.address), None)
    made = gpu and subject.hardware.mig_of(gpu).instance(item.seat.profile, item.seat.nth)
    if not gpu or not made:
        return Held(0, ())
    instances, seat = read_instances(subject.text("instances")), (gpu.pci_bus_id, made.gi)
    strays = {p.gpu_uuid for p in own if p.gpu_uuid not in (*item.uuids, gpu.uuid)}
    others = {instances.seats.get(process.pid, seat) for process in own} - {seat}
    strays |= {f"instance {gi} of GPU {address}" for address, gi in others}
    return Held(_told(instances.used_mib.get(seat), own), tuple(sorted(strays)))


def _told(instance_mib: int | None, own: list[GpuProcess]) -> int | None:
    """What is in use on the instance, which nobody else may open; else what the processes hold."""
    told = [process.used_mib for process in own if process.used_mib is not None]
    return instance_mib if instance_mib is not None else sum(told) if told or not own else None


def _owners(text: str) -> dict[int, str]:
    """`/proc/<pid>/cgroup:0::/system.slice/ollama-chat.service` lines → pid to unit."""
    found = re.findall(r"^/proc/(\d+)/cgroup:.*/([^/\n]+\.service)\b", text, re.M)
    return {int(pid): unit for pid, unit in found}


CHECK = Check("weights on gpu", _weights)
