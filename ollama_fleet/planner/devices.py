"""What a host has to give to slices: whole GPUs and MIG instances, as declared or as found.

Pure; imports the catalogue, the spec and the hardware's values.
"""

from dataclasses import dataclass, field

from ollama_fleet import catalogue
from ollama_fleet.hardware.found import Gpu, Hardware, normal_bus_id
from ollama_fleet.spec.fleet import HostSpec
from ollama_fleet.spec.known import Known, short_gpu_name

# A GPU that is in no table: only its memory and compute capability are known.
SLOWEST_GB_S = 100


@dataclass(frozen=True)
class Kind:
    """GPUs or instances that are all alike. `profile` is empty for a whole GPU."""

    card: catalogue.Gpu
    total_mib: int
    usable_mib: int
    profile: str = ""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for millions of times in a large fleet, and a card has many fields.
        object.__setattr__(self, "_hash", hash((self.card.name, self.usable_mib, self.profile)))

    @property
    def name(self) -> str:
        """For people: the card, and the profile where it is an instance."""
        short = self.card.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
        return f"{short} {self.profile}".strip()

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True)
class Device:
    """One GPU by its position in PCI order, or the `instance`th of its MIG instances alike."""

    gpu: int
    kind: Kind
    instance: int = 0

    @property
    def selector(self) -> int | str:
        """What a slice names: 3, or 3/3g.20gb/1."""
        return f"{self.gpu}/{self.kind.profile}/{self.instance}" if self.kind.profile else self.gpu


def whole(card: catalogue.Gpu) -> Kind:
    """A GPU that is not cut. The same card gives the same value: a fleet has thousands of it."""
    kind = _WHOLE.get(id(card))
    if kind is None or kind.card is not card:
        kind = _WHOLE[id(card)] = Kind(card, card.vram_mib, card.usable_mib)
    return kind


_WHOLE: dict[int, Kind] = {}


def instance_kind(card: catalogue.Gpu, profile: catalogue.MigProfile) -> Kind:
    """One MIG instance; what a real card reported is what CUDA hands out."""
    mib = profile.memory_mib(card)
    return Kind(card, mib, mib, profile.name)


def gpus_of(spec: HostSpec, known: Known, hardware: Hardware | None = None) -> tuple[Kind, ...]:
    """Every GPU of a host in PCI order: as found, else as declared; empty when nobody knows."""
    if hardware is not None:
        return tuple(_found(gpu, known) for gpu in hardware.gpus)
    return tuple(
        kind
        for declared in spec.gpus or ()
        for kind in (whole(known.gpu(declared.model)),) * declared.count
    )


def _found(gpu: Gpu, known: Known) -> Kind:
    """A found GPU; the driver's own total counts, also where it is less than the table's."""
    try:
        card = known.gpu(gpu.name)
    except catalogue.UnknownGpu:
        card = None
    # Unified memory is told as N/A; the table knows it. A lost GPU holds nothing.
    told = gpu.memory_total_mib or (card.vram_mib if card and not gpu.lost else 0)
    total = told
    if card is None:
        card = catalogue.Gpu(
            name=gpu.name,
            vram_mib=max(total, 256),
            compute_capability=gpu.compute_cap or "5.0",
            bandwidth_gb_s=SLOWEST_GB_S,
        )
    return Kind(card, total, min(card.usable_mib, int(total * card.usable_mib / card.vram_mib)))


def position_of(selector: int | str, hardware: Hardware | None) -> int | None:
    """The position in PCI order of what a slice names; None where only the host can tell."""
    if isinstance(selector, int):
        return selector
    for position, gpu in enumerate(hardware.gpus if hardware else ()):
        if selector.lower() == gpu.uuid.lower():
            return position
        if ":" in selector and normal_bus_id(selector) == gpu.pci_bus_id:
            return position
    return None


def expected(kinds: tuple[Kind, ...]) -> str:
    """`2 × RTX 3090, 1 × A30` for people."""
    names = [kind.name for kind in kinds]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "no GPU"


def same_name(first: str, second: str) -> bool:
    """Whether two names are of one card, with or without its maker."""
    return short_gpu_name(first) == short_gpu_name(second)
