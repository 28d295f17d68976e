"""A plan meets a host: GPU selectors become UUIDs and device nodes, or the reason why not."""

from ollama_fleet.hardware import Gpu, Hardware, normal_bus_id
from ollama_fleet.planner.plan import BoundSlice, HostPlan, SlicePlan

# Every CUDA process opens these besides its own GPU's node (Ollama facts: systemd sandbox).
CONTROL_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


class CannotBindError(Exception):
    """The host has not what the plan needs; the text says what and where, one line per slice."""


def bind(plan: HostPlan, hardware: Hardware) -> tuple[BoundSlice, ...]:
    """Resolve every slice of `plan` on `hardware`. Raises CannotBindError."""
    bound, wrong = [], []
    for item in plan.slices:
        try:
            bound.append(_bind_slice(item, hardware))
        except CannotBindError as error:
            wrong.append(str(error))
    wrong += _shared(bound) + _reserved(bound, plan, hardware)
    if wrong:
        raise CannotBindError("\n".join(wrong))
    return tuple(bound)


def _bind_slice(item: SlicePlan, hardware: Hardware) -> BoundSlice:
    gpus = [_find(item.name, selector, hardware) for selector in item.gpus]
    nodes = [f"/dev/nvidia{gpu.minor}" for gpu in gpus]
    return BoundSlice(item, tuple(gpu.uuid for gpu in gpus), (*CONTROL_DEVICES, *nodes))


def _find(name: str, selector: int | str, hardware: Hardware) -> Gpu:
    found = [gpu for position, gpu in enumerate(hardware.gpus) if _is(gpu, position, selector)]
    if not found and "/" in str(selector):
        raise CannotBindError(
            f"slice '{name}': {selector} is a MIG instance; they can be planned, but not be made "
            "by this version: set `mig: false` on the wish, or drop `mig:` of the host"
        )
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
    kept = {hardware.gpus[n].uuid for n in plan.reserved if n < len(hardware.gpus)}
    return [
        f"slice '{item.plan.name}': {uuid} is reserved; take it out of `reserved:` or choose another"
        for item in bound
        for uuid in item.uuids
        if uuid in kept
    ]


def _shared(bound: list[BoundSlice]) -> list[str]:
    """Selectors of different kinds can name one GPU; only here can that be seen."""
    owner: dict[str, str] = {}
    wrong = []
    for item in bound:
        for uuid in item.uuids:
            if uuid in owner:
                wrong.append(f"slice '{item.plan.name}': {uuid} is in slice '{owner[uuid]}' too")
            owner[uuid] = item.plan.name
    return wrong
