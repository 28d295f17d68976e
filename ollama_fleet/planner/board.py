"""What is still free on every host while a plan is made; the only thing here that changes.

Whole GPUs, instances that the inventory cuts, and GPUs whose instances are still to be chosen.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ollama_fleet.planner.devices import Device, Kind, instance_kind
from ollama_fleet.planner.windows import Groups, choose
from ollama_fleet.spec.fleet import HostSpec
from ollama_fleet.spec.known import layout_error


@dataclass
class HostBoard:
    """One host: `free` whole GPUs as bits by position, instances cut and still to be cut.

    `hidden`: slices name GPUs by UUID or address, so that nobody knows yet which are left.
    """

    name: str
    spec: HostSpec
    gpus: tuple[Kind, ...]
    groups: Groups = ()
    free: dict[Kind, int] = field(default_factory=dict)
    cut: dict[Kind, list[Device]] = field(default_factory=dict)
    uncut: dict[int, list[str]] = field(default_factory=dict)
    hidden: bool = False

    def most(self, kind: Kind) -> int:
        """GPUs of a kind that one slice could get at most; instances are never joined."""
        if kind.profile:
            return 1 if kind in self.cut or self._uncut_of(kind) else 0
        return self.free.get(kind, 0).bit_count()

    def kinds(self) -> set[Kind]:
        """Everything that could be taken here."""
        chosen = {
            instance_kind(self.gpus[gpu].card, profile)
            for gpu in self.uncut
            for profile in self.gpus[gpu].card.mig_profiles
            if "+" not in profile.name
        }
        return {*self.free, *self.cut, *chosen}

    def take(self, kind: Kind, gpus: int) -> tuple[Device, ...] | None:
        """Take GPUs or an instance of a kind; None when there is not enough."""
        if kind.profile:
            return self._take_instance(kind)
        free = self.free.get(kind, 0)
        found = choose(free, gpus, self.groups) if free.bit_count() >= gpus else None
        if found is None:
            return None
        self.free[kind] = free & ~sum(1 << position for position in found)
        return tuple(Device(position, kind) for position in found)

    def take_exactly(self, devices: Iterable[Device]) -> bool:
        """Take these very ones; False, and nothing taken, when one of them is not free."""
        devices = tuple(devices)
        if any(device.kind.profile for device in devices):
            return len(devices) == 1 and self._take_this_instance(devices[0])
        masks = [(device.kind, 1 << device.gpu) for device in devices]
        if not all(self.free.get(kind, 0) & bit for kind, bit in masks):
            return False
        for kind, bit in masks:
            self.free[kind] &= ~bit
        return True

    def _take_instance(self, kind: Kind) -> tuple[Device, ...] | None:
        if self.cut.get(kind):
            return (self.cut[kind].pop(0),)
        for gpu in self._uncut_of(kind):
            chosen = self.uncut[gpu]
            if layout_error(self.gpus[gpu].card, [*chosen, kind.profile]) is None:
                chosen.append(kind.profile)
                return (Device(gpu, kind, chosen.count(kind.profile) - 1),)
        return None

    def _take_this_instance(self, device: Device) -> bool:
        if device in self.cut.get(device.kind, ()):
            self.cut[device.kind].remove(device)
            return True
        chosen = self.uncut.get(device.gpu)
        if chosen is None or chosen.count(device.kind.profile) != device.instance:
            return False
        if layout_error(self.gpus[device.gpu].card, [*chosen, device.kind.profile]):
            return False
        chosen.append(device.kind.profile)
        return True

    def _uncut_of(self, kind: Kind) -> list[int]:
        """GPUs to cut such an instance out of; those already begun first."""
        alike = [gpu for gpu in self.uncut if self.gpus[gpu].card is kind.card]
        return sorted(alike, key=lambda gpu: (not self.uncut[gpu], gpu))


@dataclass
class Board:
    """All hosts, in the order of the file; `most` is what one slice could get of a kind at first."""

    hosts: list[HostBoard]
    most: dict[Kind, int] = field(default_factory=dict)
    _offering: dict[Kind, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for order, host in enumerate(self.hosts):
            for kind in host.kinds():
                self._offering.setdefault(kind, []).append(order)
                self.most[kind] = max(self.most.get(kind, 0), host.most(kind))

    def offering(self, kind: Kind) -> list[int]:
        """Hosts that may still have some of a kind; forgets those that have run out."""
        hosts = self._offering.get(kind, [])
        if hosts and not kind.profile and not self.hosts[hosts[0]].free.get(kind):
            hosts = [order for order in hosts if self.hosts[order].free.get(kind)]
            self._offering[kind] = hosts
        return hosts


def new_board(hosts: Iterable[HostBoard]) -> Board:
    """A board of its own for one attempt; `hosts` stay as they are."""
    return Board(
        [
            HostBoard(
                host.name,
                host.spec,
                host.gpus,
                host.groups,
                dict(host.free),
                {kind: list(devices) for kind, devices in host.cut.items()},
                {gpu: list(names) for gpu, names in host.uncut.items()},
            )
            for host in hosts
        ]
    )


def hidden_board(name: str, spec: HostSpec, gpus: tuple[Kind, ...]) -> HostBoard:
    """A host that offers nothing, as nobody knows which GPUs its slices leave."""
    return HostBoard(name, spec, gpus, hidden=True)


def host_board(
    name: str, spec: HostSpec, gpus: tuple[Kind, ...], taken: Iterable[int]
) -> HostBoard:
    """A host before any wish: without reserved GPUs and those of its own slices."""
    cut = {gpu: mig.profiles for mig in spec.mig for gpu in mig.gpus if gpu < len(gpus)}
    gone = {*spec.reserved, *taken, *cut}
    host = HostBoard(name, spec, gpus, tuple(sum(1 << gpu for gpu in g) for g in spec.neighbours))
    for position, kind in enumerate(gpus):
        if position not in gone:
            host.free[kind] = host.free.get(kind, 0) | 1 << position
    for gpu, profiles in cut.items():
        if isinstance(profiles, str):
            host.uncut[gpu] = []
            continue
        for profile in dict.fromkeys(profiles):
            kind = instance_kind(gpus[gpu].card, gpus[gpu].card.mig_profile(profile))
            count = profiles.count(profile)
            host.cut.setdefault(kind, []).extend(Device(gpu, kind, n) for n in range(count))
    return host
