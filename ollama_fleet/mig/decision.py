"""What a deploy has to do so that a host's GPUs are cut and set as planned; pure.

Nothing is changed on a GPU that something uses, unless that is slices of ours: they are drained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ollama_fleet.gpu_settings import GpuState, setting_differences, setting_problems
from ollama_fleet.hardware import Gpu, Hardware
from ollama_fleet.mig.found import RunningSlice, Use
from ollama_fleet.mig.instances import MigGpu
from ollama_fleet.mig.layout import cut_of, whole_gpus
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, BoundSlice, HostPlan


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
) -> Change:
    """What separates the GPUs from the plan, and what has to be done about it."""
    cut = cut_of(plan, hardware)
    whole = set(whole_gpus(bound, hardware))
    changed = [gpu for gpu in hardware.gpus if _differs(gpu, hardware, cut, whole)]
    refused = [*setting_problems(plan, hardware, settings), *_foreign(changed, use)]
    if refused:
        return Change(refused=tuple(refused))
    why = [_why(gpu, hardware.mig_of(gpu), cut) for gpu in changed]
    why += [
        f"GPU {address}: {wanted} instead of {found}"
        for address, wanted, found in setting_differences(plan, hardware, settings)
    ]
    return Change(
        tuple(why),
        drain=tuple(_sitting(changed, use)),
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
    if wanted is None:
        return f"GPU {gpu.pci_bus_id}: whole, instead of {has}"
    now = has if found.current else "whole"
    return f"GPU {gpu.pci_bus_id}: cut into {', '.join(wanted)}; it is {now}"


def _before(gpu: Gpu, found: MigGpu) -> str:
    """The line of the layout that brings a GPU back to what it is."""
    profiles = sorted(
        (item.profile for item in found.instances),
        key=lambda name: (-int(name.split("g")[0]), name),
    )
    if found.current and profiles:
        return f"cut {gpu.pci_bus_id} {' '.join(profiles)}"
    return f"whole {gpu.pci_bus_id}"


def _sitting(changed: Sequence[Gpu], use: Use) -> list[RunningSlice]:
    """Slices of ours that run on changed GPUs; one whose instance is gone may sit on any."""
    addresses = [gpu.pci_bus_id for gpu in changed]
    found = [item for address in ["", *addresses] for item in use.slices.get(address, ())]
    ours = [item for item in found if item.unit not in (LOADER_UNIT, DEVICES_UNIT)]
    return list(dict.fromkeys(ours)) if changed else []


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
