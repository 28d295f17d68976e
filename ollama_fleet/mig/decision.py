"""What a deploy has to do so that a host's GPUs are cut and set as planned; pure.

Nothing is changed on a GPU that something uses, unless that is slices of ours: they are drained.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.gpu_settings import GpuState, setting_differences, setting_problems
from ollama_fleet.hardware.found import Gpu, Hardware
from ollama_fleet.hardware.instances import MigGpu
from ollama_fleet.mig.found import RunningSlice, Use
from ollama_fleet.mig.layout import cut_of, whole_gpus
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, BoundSlice, HostPlan

NOTHING_HANDED: Mapping[str, str] = {}


@dataclass(frozen=True)
class Change:
    """What to do: `why` in words, one line each; `drain` the slices that have to stop for it;
    `before` lines of the layout that bring the GPUs back; `refused` why nothing may be done."""

    why: tuple[str, ...] = ()
    drain: tuple[RunningSlice, ...] = ()
    before: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.why or self.refused)


def decide(
    plan: HostPlan,
    bound: Sequence[BoundSlice],
    hardware: Hardware,
    settings: Sequence[GpuState],
    use: Use,
    handed: Mapping[str, str] = NOTHING_HANDED,
) -> Change:
    """What separates the GPUs from the plan, and what has to be done about it. `handed` is the UUID
    that each running slice was started with."""
    cut = cut_of(plan, hardware)
    whole = set(whole_gpus(bound, hardware))
    changed = [gpu for gpu in hardware.gpus if _differs(gpu, hardware, cut, whole)]
    refused = [*setting_problems(plan, bound, hardware, settings), *_foreign(changed, use)]
    if refused:
        return Change(refused=tuple(refused))
    why = [_why(gpu, hardware.mig_of(gpu), cut) for gpu in changed]
    why += [
        f"GPU {address}: {wanted} instead of {found}"
        for address, wanted, found in setting_differences(plan, hardware, settings)
    ]
    astray = _astray(bound, hardware, changed, handed)
    why += [f"{item.unit} runs with an instance that is not its own any more" for item in astray]
    return Change(
        tuple(why),
        drain=tuple(dict.fromkeys([*_sitting(changed, use), *astray])),
        before=tuple(_before(gpu, hardware.mig_of(gpu)) for gpu in changed),
    )


def _differs(
    gpu: Gpu, hardware: Hardware, cut: dict[str, tuple[str, ...]], whole: set[str]
) -> bool:
    found = hardware.mig_of(gpu)
    if gpu.pci_bus_id in cut:
        return not found.holds(cut[gpu.pci_bus_id]) or found.pending is not True
    return gpu.pci_bus_id in whole and (found.current or found.pending) is True


def _why(gpu: Gpu, found: MigGpu, cut: dict[str, tuple[str, ...]]) -> str:
    wanted = cut.get(gpu.pci_bus_id)
    has = ", ".join(item.profile for item in found.instances) or "no instances"
    if wanted is None and not found.current:
        return f"GPU {gpu.pci_bus_id}: whole; MIG mode on is pending"
    if wanted is None:
        return f"GPU {gpu.pci_bus_id}: whole, instead of {has}"
    now = has if found.current else "whole"
    if found.pending is False and found.current:
        now += ", and MIG mode off is pending"
    return f"GPU {gpu.pci_bus_id}: cut into {', '.join(wanted)}; it is {now}"


def _before(gpu: Gpu, found: MigGpu) -> str:
    """The line of the layout that brings a GPU back to what it is."""
    profiles = sorted((item.profile for item in found.instances), key=_largest_first)
    if found.current and profiles:
        return f"cut {gpu.pci_bus_id} {' '.join(profiles)}"
    return f"whole {gpu.pci_bus_id}"


def _largest_first(profile: str) -> tuple[list[int], str]:
    """By memory, then by compute: a 1g.20gb takes the place of two 1g.10gb."""
    return [-int(size) for size in re.findall(r"\d+", profile)[1::-1]], profile


def _sitting(changed: Sequence[Gpu], use: Use) -> list[RunningSlice]:
    """Slices of ours that run on changed GPUs; one whose instance is gone may sit on any."""
    addresses = [gpu.pci_bus_id for gpu in changed]
    found = [item for address in ["", *addresses] for item in use.slices.get(address, ())]
    ours = [item for item in found if item.unit not in (LOADER_UNIT, DEVICES_UNIT)]
    return list(dict.fromkeys(ours)) if changed else []


def _astray(
    bound: Sequence[BoundSlice],
    hardware: Hardware,
    changed: Sequence[Gpu],
    handed: Mapping[str, str],
) -> list[RunningSlice]:
    """Running slices whose instance was made anew behind their back, on GPUs that are right now."""
    right = {gpu.pci_bus_id for gpu in hardware.gpus} - {gpu.pci_bus_id for gpu in changed}
    return [
        RunningSlice(item.plan.unit, item.plan.port)
        for item in bound
        if item.seat
        and item.seat.address in right
        and handed.get(item.plan.unit) not in (None, *item.uuids)
    ]


def _foreign(changed: Sequence[Gpu], use: Use) -> list[str]:
    """Processes that are not ours to stop."""
    ours = {item.unit for item in _sitting(changed, use)}
    return [
        f"GPU {gpu.pci_bus_id} has to be cut anew, but {item.name} (process {item.pid}"
        f"{f', {item.unit}' if item.unit else ''}) uses it; stop it, then deploy again"
        for gpu in changed
        for item in (*use.occupants.get(gpu.pci_bus_id, ()), *use.occupants.get("", ()))
        if item.unit not in ours
    ]
