"""Where a machine's slices sit: selectors of the plan become positions of GPUs in PCI order. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ollama_fleet.hardware.found import normal_bus_id
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.top.gpu_rows import GpuRow


@dataclass(frozen=True)
class Board:
    """PCI addresses in order, and nvidia-smi's row for each where it has one."""

    addresses: tuple[str, ...]
    rows: tuple[GpuRow | None, ...]

    def position(self, selector: int | str) -> int | None:
        """Of a plan's selector: a position, `position/profile/nth`, a UUID or a PCI address."""
        if isinstance(selector, int):
            return selector
        if "/" in selector:
            first = selector.partition("/")[0]
            return int(first) if first.isdecimal() else None
        for place, row in enumerate(self.rows):
            if row and row.uuid.lower() == selector.lower():
                return place
        address = normal_bus_id(selector)
        return self.addresses.index(address) if address in self.addresses else None


def board_of(pci: Sequence[str], rows: Sequence[GpuRow]) -> Board:
    """All GPUs that the bus or the driver shows: one that is lost keeps its place."""
    of = {row.address: row for row in rows}
    addresses = tuple(sorted({*pci, *of}))
    return Board(addresses, tuple(of.get(address) for address in addresses))


def seat(item: SlicePlan, board: Board) -> tuple[tuple[int, ...], str]:
    """Positions of a slice's GPUs, and its MIG profile, or an empty text."""
    places = (board.position(selector) for selector in item.gpus)
    profiles = [str(selector).split("/")[1] for selector in item.gpus if "/" in str(selector)]
    return tuple(place for place in places if place is not None), "".join(profiles[:1])


def planned_mib(plan: HostPlan, board: Board) -> dict[int, int]:
    """Position to what the plan puts on that GPU, all its slices together."""
    found: dict[int, float] = {}
    for memory in plan.memory:
        place = board.position(memory.selector)
        if place is not None and memory.uses:
            found[place] = found.get(place, 0) + memory.used_mib
    return {place: round(mib) for place, mib in found.items()}
