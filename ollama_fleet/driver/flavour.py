"""Which kernel modules can drive a set of GPUs, known from PCI device ids before any driver is there.

The ranges were checked against pci.ids: among GPUs a device id of 1e00 or more is Turing or newer,
without exception. They hold for display-class functions only, not for NVSwitches and bridges.
"""

from collections.abc import Iterable
from dataclasses import dataclass

OPEN, PROPRIETARY = "open", "proprietary"

MAXWELL, TURING, BLACKWELL = 0x1340, 0x1E00, 0x2900
# Hopper with a Grace CPU: open modules only, although plain Hopper takes either.
GRACE_HOPPER = frozenset({0x2342, 0x2345, 0x2348})
LAST_BRANCH_BEFORE_TURING = 580

# The first driver that knows a card, where the branches that we install begin later.
FLOORS = (
    (frozenset({0x2335, 0x233B}), "550.90.07"),  # H200, H200 NVL
    (frozenset({0x2901, 0x2909, 0x290A, 0x2941}), "570.133.20"),  # B200, GB200
    (frozenset({0x2BB1, 0x2BB4, 0x2BB5}), "575.51.03"),  # RTX PRO 6000
    (frozenset({0x3182}), "580.82.07"),  # B300
    (frozenset({0x31C2}), "595.58.03"),  # GB300
)
# Ollama's own minimum (docs/gpu.mdx), and the one for compute capability 6.2 and below.
OLDEST, OLDEST_BEFORE_VOLTA = "550", "570"
VOLTA = 0x1D81


class NoFlavourError(ValueError):
    """No kernel modules drive this set of GPUs; the text says why and what to do."""


@dataclass(frozen=True)
class Needs:
    """What the GPUs of a host need of a driver. `floor` is a version, `last_branch` None: any."""

    flavours: tuple[str, ...]
    floor: str
    last_branch: int | None

    @property
    def flavour(self) -> str:
        """The one to install: open wherever it can be (NVIDIA's default since 560)."""
        return self.flavours[0]


# B200, GB200, B300, GB300: their NVSwitches are no NVIDIA PCI functions.
NVLINK5_IDS = frozenset({0x2901, 0x2909, 0x290A, 0x2941, 0x3182, 0x31C2})


def needs_of(device_ids: Iterable[int], asked: str = "auto") -> Needs:
    """What GPUs with these PCI device ids need, as `asked` (auto, open, proprietary) allows.

    Raises NoFlavourError.
    """
    ids = sorted(set(device_ids))
    too_old = [number for number in ids if number < MAXWELL]
    old = [number for number in ids if MAXWELL <= number < TURING]
    open_only = [number for number in ids if number >= BLACKWELL or number in GRACE_HOPPER]
    if too_old:
        raise NoFlavourError(
            f"GPU {_names(too_old)} is older than Maxwell; no driver that Ollama takes knows it"
        )
    if old and open_only:
        raise NoFlavourError(
            f"GPUs {_names(old)} (before Turing) need the proprietary kernel modules and "
            f"{_names(open_only)} (Blackwell or Grace) the open ones; no driver has both. "
            "Put them into different hosts, or hand one of them to a virtual machine"
        )
    flavours = (PROPRIETARY,) if old else (OPEN,) if open_only else (OPEN, PROPRIETARY)
    if asked != "auto":
        if asked not in flavours:
            why = f"{_names(old or open_only)} can only use the {flavours[0]} ones"
            raise NoFlavourError(f"`driver: {{flavour: {asked}}}` is asked for, but GPU {why}")
        flavours = (asked,)
    return Needs(flavours, _floor(ids), LAST_BRANCH_BEFORE_TURING if old else None)


def version_key(text: str) -> tuple[int, ...]:
    """Order of driver versions: '580.95.05' < '580.105.08'."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _floor(ids: list[int]) -> str:
    least = OLDEST_BEFORE_VOLTA if any(number < VOLTA for number in ids) else OLDEST
    floors = [floor for cards, floor in FLOORS if cards.intersection(ids)]
    return max([least, *floors], key=version_key)


def _names(ids: list[int]) -> str:
    return ", ".join(f"10de:{number:04x}" for number in ids)
