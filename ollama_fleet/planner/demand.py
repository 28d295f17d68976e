"""Wishes as the planner places them: what, how often, where it may go, on what it would fit."""

from dataclasses import dataclass

from ollama_fleet.planner.board import Board
from ollama_fleet.planner.devices import Device, Kind
from ollama_fleet.planner.needs import Needs, Seat, Settings
from ollama_fleet.spec.fleet import Fleet, WishSpec
from ollama_fleet.spec.known import Known, Place, all_wishes, full_model_name, is_gpu


@dataclass(frozen=True, eq=False)
class Demand:
    """One wish. `hosts` is None when every host will do; `number` counts in the file's order."""

    number: int
    at: Place
    spec: WishSpec
    tags: tuple[str, ...]
    settings: Settings
    hosts: frozenset[str] | None

    @property
    def pool(self) -> tuple[Place, str] | None:
        """The pool that it shares GPUs with, told apart by where it is written."""
        return (self.at[:-1], self.spec.pool) if self.spec.pool else None

    @property
    def slice_name(self) -> str:
        """What its slices are named after."""
        return self.spec.pool or self.spec.title


@dataclass(frozen=True, eq=False)
class Option:
    """GPUs of one kind on which one replica of a demand fits."""

    kind: Kind
    seat: Seat

    @property
    def cost(self) -> tuple[int, int, str]:
        """Memory that it occupies; the cheapest option is the best fit."""
        return self.kind.total_mib * self.seat.gpus, self.seat.gpus, self.kind.name


@dataclass(frozen=True, eq=False)
class Placed:
    """One slice of wishes: several of a pool, or one replica of one."""

    host: int
    demands: tuple[Demand, ...]
    devices: tuple[Device, ...]
    seat: Seat
    name: str | None = None
    port: int | None = None


def demands_of(fleet: Fleet) -> list[Demand]:
    """Every wish, in the order of the file."""
    every = len(fleet.hosts)
    return [
        Demand(
            number=number,
            at=at,
            spec=wish,
            tags=tuple(dict.fromkeys(map(full_model_name, wish.all_models))),
            settings=Settings.of(wish),
            hosts=None if len(hosts) == every else frozenset(hosts),
        )
        for number, (at, wish, hosts) in enumerate(all_wishes(fleet))
    ]


def allowed(demand: Demand, kind: Kind, known: Known) -> bool:
    """Whether a wish may be put on GPUs of a kind."""
    if demand.spec.gpu and not is_gpu(kind.card, demand.spec.gpu, known):
        return False
    if isinstance(demand.spec.mig, str):
        return kind.profile == demand.spec.mig
    return demand.spec.mig or not kind.profile


def options_of(demand: Demand, board: Board, needs: Needs) -> list[Option]:
    """Everything on which a replica fits, the best fit first."""
    found = []
    for kind, most in sorted(_offers(demand, board).items(), key=lambda offer: offer[0].name):
        if not allowed(demand, kind, needs.known):
            continue
        seat = _seat(demand, kind, most, needs)
        if seat:
            found.append(Option(kind, seat))
    return sorted(found, key=lambda option: option.cost)


def _offers(demand: Demand, board: Board) -> dict[Kind, int]:
    """Kinds that its hosts have, with the most of it on one host."""
    if demand.hosts is None:
        return board.most
    most: dict[Kind, int] = {}
    for host in board.hosts:
        for kind in host.kinds() if host.name in demand.hosts else ():
            most[kind] = max(most.get(kind, 0), host.most(kind))
    return most


def _seat(demand: Demand, kind: Kind, most: int, needs: Needs) -> Seat | None:
    wanted = 1 if demand.pool else demand.spec.gpus
    if wanted is None:
        return needs.fewest(demand.tags, demand.settings, kind, most)
    seat = needs.seat(demand.tags, demand.settings, kind, wanted) if wanted <= most else None
    return seat if seat and seat.fits(kind.usable_mib) else None
