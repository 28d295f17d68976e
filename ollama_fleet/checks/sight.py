"""What a host's answers show of its GPUs and slices, for pictures: nothing is judged here, and what nobody
could tell is None. Reads the answers that the checks ask for anyway.
"""

from collections.abc import Callable
from dataclasses import replace

from ollama_fleet.checks.model import Subject
from ollama_fleet.checks.outcome import GpuSight, InstanceSight, SliceSight
from ollama_fleet.checks.requests import generations
from ollama_fleet.checks.weights import Instances, held_by, read_instances
from ollama_fleet.hardware.found import Gpu, Hardware, known_name
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import BoundSlice, HostPlan, SlicePlan
from ollama_fleet.questions import json_object
from ollama_fleet.rollout.marks import MARKS, read_marks


def sights(subject: Subject) -> tuple[tuple[GpuSight, ...], tuple[SliceSight, ...]]:
    """GPUs in PCI order, those that the driver lost among them, and slices in the order of the plan."""
    gpus = [_gpu(subject, position, gpu) for position, gpu in enumerate(subject.hardware.gpus)]
    known = {gpu.address for gpu in gpus}
    gpus += [
        GpuSight(-1, "", address, "", 0, lost=True)
        for address in subject.hardware.pci_gpus
        if address not in known
    ]
    bound = {item.plan.name: item for item in subject.slices}
    slices = (_slice(subject, plan, bound.get(plan.name)) for plan in subject.plan.slices)
    return tuple(sorted(gpus, key=lambda gpu: gpu.address)), tuple(slices)


def bound_where_possible(plan: HostPlan, hardware: Hardware) -> tuple[BoundSlice, ...]:
    """Slices that have their GPUs, also where others have not."""
    bound: list[BoundSlice] = []
    for item in plan.slices:
        try:
            bound += bind(replace(plan, slices=(item,)), hardware)
        except CannotBindError:
            continue
    return tuple(bound)


def _gpu(subject: Subject, position: int, gpu: Gpu) -> GpuSight:
    return GpuSight(
        index=gpu.index,
        uuid=gpu.uuid,
        address=gpu.pci_bus_id,
        name=known_name(gpu.name),
        memory_mib=gpu.memory_total_mib or 0,
        used_mib=gpu.memory_used_mib,
        planned_mib=_planned(subject.plan, lambda selector: _position(selector) == position),
        temperature_c=gpu.temperature_c,
        lost=gpu.lost,
        instances=_instances(subject, gpu),
    )


def _instances(subject: Subject, gpu: Gpu) -> tuple[InstanceSight, ...]:
    mig = subject.hardware.mig_of(gpu)
    used = read_instances(subject.text("instances")) if mig.instances else Instances({}, {})
    owners = {uuid: item.plan.name for item in subject.slices for uuid in item.uuids}
    return tuple(
        InstanceSight(
            made.profile,
            made.memory_mib,
            used.used_mib.get((gpu.pci_bus_id, made.gi)),
            owners.get(made.uuid or "", ""),
        )
        for made in sorted(mig.instances, key=lambda made: made.start)
    )


def _slice(subject: Subject, plan: SlicePlan, bound: BoundSlice | None) -> SliceSight:
    return SliceSight(
        name=plan.name,
        gpus=_indices(subject.hardware, bound) if bound else (),
        port=plan.port,
        models=plan.models,
        instance=bound.seat.profile if bound and bound.seat else "",
        planned_mib=_planned(subject.plan, lambda selector: selector in plan.gpus),
        held_mib=held_by(subject, bound)[0].mib if bound and plan.models else None,
        tokens_per_s=_speed(subject, plan.name),
        drained=MARKS in subject.answers and plan.name in read_marks(subject.answers),
    )


def _indices(hardware: Hardware, bound: BoundSlice) -> tuple[int, ...]:
    here = bound.seat.address if bound.seat else None
    return tuple(
        gpu.index for gpu in hardware.gpus if gpu.uuid in bound.uuids or gpu.pci_bus_id == here
    )


def _planned(plan: HostPlan, concerns: Callable[[int | str], bool]) -> int | None:
    """What the plan reckons for the GPUs that it concerns; None where it knows none of them."""
    memory = [item for item in plan.memory if concerns(item.selector)]
    return round(sum(item.used_mib for item in memory)) if memory else None


def _position(selector: int | str) -> int | None:
    """`3` and `3/3g.20gb/1` are of GPU 3; a UUID says no position."""
    first = str(selector).split("/")[0]
    return int(first) if first.isdigit() else None


def _speed(subject: Subject, name: str) -> float | None:
    """Tokens per second of the generation that proved it."""
    answer = json_object(generations(subject.text("generations")).get(name, ""))
    count, duration_ns = answer.get("eval_count"), answer.get("eval_duration")
    if not (isinstance(count, int) and isinstance(duration_ns, int) and duration_ns > 0):
        return None
    return round(count / duration_ns * 1e9, 1)
