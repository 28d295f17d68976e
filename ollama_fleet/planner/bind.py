"""A plan meets a host: GPU selectors become UUIDs and device nodes, or the reason why not."""

from ollama_fleet.hardware.found import Gpu, Hardware, normal_bus_id
from ollama_fleet.planner.plan import BoundSlice, HostPlan, MigSeat, SlicePlan

# Every CUDA process opens these besides its own GPU's node (Ollama facts: systemd sandbox).
CONTROL_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


class CannotBindError(Exception):
    """The host has not what the plan needs; the text says what and where, one line per slice."""


def bind(plan: HostPlan, hardware: Hardware) -> tuple[BoundSlice, ...]:
    """Resolve every slice of `plan` on `hardware`. Raises CannotBindError.

    MIG instances need not be there yet: it is enough that the plan cuts their GPU so.
    """
    bound, wrong = [], []
    for item in plan.slices:
        try:
            bound.append(_bind_slice(item, plan, hardware))
        except CannotBindError as error:
            wrong.append(str(error))
    wrong += _shared(bound) + _reserved(bound, plan, hardware)
    if wrong:
        raise CannotBindError("\n".join(wrong))
    return tuple(bound)


def cut_gpus(plan: HostPlan, hardware: Hardware) -> dict[str, tuple[str, ...]]:
    """PCI address of each GPU that the plan cuts, to its profiles. Raises CannotBindError."""
    cut = {}
    for position, profiles in plan.mig:
        if position >= len(hardware.gpus):
            raise CannotBindError(
                f"mig: no GPU {position} to cut; the host has {len(hardware.gpus)}"
            )
        cut[hardware.gpus[position].pci_bus_id] = profiles
    return cut


def _bind_slice(item: SlicePlan, plan: HostPlan, hardware: Hardware) -> BoundSlice:
    if any("/" in str(selector) for selector in item.gpus):
        return _bind_instance(item, plan, hardware)
    cut = cut_gpus(plan, hardware)
    gpus = [_find(item.name, selector, hardware) for selector in item.gpus]
    for gpu in gpus:
        if gpu.pci_bus_id in cut:
            raise CannotBindError(
                f"slice '{item.name}': GPU {gpu.pci_bus_id} is cut into {', '.join(cut[gpu.pci_bus_id])}"
                "; take it out of `mig:` or choose another"
            )
    nodes = [f"/dev/nvidia{gpu.minor}" for gpu in gpus]
    return BoundSlice(item, tuple(gpu.uuid for gpu in gpus), (*CONTROL_DEVICES, *nodes))


def _bind_instance(item: SlicePlan, plan: HostPlan, hardware: Hardware) -> BoundSlice:
    """A slice on one MIG instance; CUDA shows a process no more than one."""
    if len(item.gpus) != 1:
        raise CannotBindError(
            f"slice '{item.name}': a slice has one MIG instance, and nothing else"
        )
    position, profile, nth = str(item.gpus[0]).split("/")
    planned = dict(plan.mig).get(int(position), ())
    if planned.count(profile) <= int(nth):
        has = ", ".join(planned) or "is not cut"
        raise CannotBindError(
            f"slice '{item.name}': no instance {item.gpus[0]}; GPU {position} of the plan: {has}"
        )
    gpu = _find(item.name, int(position), hardware)
    made = hardware.mig_of(gpu).instance(profile, int(nth))
    return BoundSlice(
        item,
        uuids=(made.uuid,) if made and made.uuid else (),
        devices=(*CONTROL_DEVICES, f"/dev/nvidia{gpu.minor}"),
        seat=MigSeat(gpu.pci_bus_id, profile, int(nth)),
    )


def _find(name: str, selector: int | str, hardware: Hardware) -> Gpu:
    found = [gpu for position, gpu in enumerate(hardware.gpus) if _is(gpu, position, selector)]
    if not found:
        has = ", ".join(f"{i}: {gpu.name} {gpu.uuid}" for i, gpu in enumerate(hardware.gpus))
        raise CannotBindError(f"slice '{name}': no GPU {selector}; the host has {has or 'none'}")
    if found[0].minor is None:
        raise CannotBindError(
            f"slice '{name}': GPU {selector} has no device minor in /proc/driver/nvidia/gpus; "
            "reload the driver"
        )
    return found[0]


def _is(gpu: Gpu, position: int, selector: int | str) -> bool:
    if isinstance(selector, int):
        return position == selector
    if selector.upper().startswith("GPU-"):
        return gpu.uuid.lower() == selector.lower()
    return gpu.pci_bus_id == normal_bus_id(selector)


def _reserved(bound: list[BoundSlice], plan: HostPlan, hardware: Hardware) -> list[str]:
    """A UUID or address may name a GPU that is kept for something else; only here can that be seen."""
    kept = {hardware.gpus[n] for n in plan.reserved if n < len(hardware.gpus)}
    names = {name for gpu in kept for name in (gpu.uuid, gpu.pci_bus_id)}
    return [
        f"slice '{item.plan.name}': {name} is reserved; take it out of `reserved:` or choose another"
        for item in bound
        for name in ([item.seat.address] if item.seat else item.uuids)
        if name in names
    ]


def _shared(bound: list[BoundSlice]) -> list[str]:
    """Selectors of different kinds can name one GPU; only here can that be seen."""
    owner: dict[object, str] = {}
    wrong = []
    for item in bound:
        for name in [item.seat] if item.seat else item.uuids:
            if name in owner:
                what = item.place if item.seat else name
                wrong.append(f"slice '{item.plan.name}': {what} is in slice '{owner[name]}' too")
            owner[name] = item.plan.name
    return wrong
