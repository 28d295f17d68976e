"""What the host's own script is told of its GPUs: one line per fact, by PCI address.

    cut 0000:17:00.0 3g.40gb 2g.20gb 2g.20gb        in the order in which they are made
    whole 0000:3d:00.0                              a slice has all of it: MIG mode is off
    set 0000:17:00.0 -pl 300                        an option of nvidia-smi and its value
    slice ollama-chat.service 0000:17:00.0 3g.40gb 0

The same plan and hardware give the same text. Pure.
"""

from collections.abc import Iterator, Sequence

from ollama_fleet.gpu_settings import wanted_settings
from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.bind import CannotBindError, cut_gpus
from ollama_fleet.planner.plan import PREFIX, BoundSlice, HostPlan

LAYOUT_FILE = "/etc/ollama/gpus"
GPUS_SCRIPT = f"{PREFIX}/libexec/ollama-gpus"
DROP_IN = "20-mig.conf"
# In the order in which the script counts them; all of them exist from driver 535 on.
SCRIPT_FIELDS = (
    *("pci.bus_id", "index", "mig.mode.current", "mig.mode.pending"),
    *("persistence_mode", "power.limit", "compute_mode", "ecc.mode.pending"),
)
# Where the script writes what a slice gets at start.
DROP_INS = "/run/systemd/system"
# With a GPU's minor behind it: the script's word that a GPU which is to be whole is in MIG mode.
NOT_WHOLE = "/run/ollama-fleet/not-whole-"


def layout_lines(plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware) -> list[str]:
    """Lines of the layout; empty where there is nothing to cut, to keep whole or to set."""
    return [
        *(
            f"cut {address} {' '.join(profiles)}"
            for address, profiles in sorted(cut_of(plan, hardware).items())
        ),
        *(f"whole {address}" for address in whole_gpus(bound, hardware)),
        *(
            f"set {address} {option} {value}"
            for address, options in wanted_settings(plan, hardware).items()
            for option, value in options.items()
        ),
        *_slice_lines(bound),
    ]


def cut_of(plan: HostPlan, hardware: Hardware) -> dict[str, tuple[str, ...]]:
    """PCI address to profiles of the GPUs that the plan cuts and the host has."""
    try:
        return cut_gpus(plan, hardware)
    except CannotBindError:  # said by whoever binds
        return {}


def whole_gpus(bound: Sequence[BoundSlice], hardware: Hardware) -> list[str]:
    """Addresses of the GPUs that slices have as a whole and that could be cut."""
    used = {uuid for item in bound if not item.seat for uuid in item.uuids}
    return [
        gpu.pci_bus_id for gpu in hardware.gpus if gpu.uuid in used and hardware.mig_of(gpu).capable
    ]


def _slice_lines(bound: Sequence[BoundSlice]) -> Iterator[str]:
    for item in bound:
        if item.seat:
            seat = item.seat
            yield f"slice {item.plan.unit} {seat.address} {seat.profile} {seat.nth}"
