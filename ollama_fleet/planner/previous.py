"""An earlier plan: its slices stay where they are as long as they fit there.

`Previous` is read from a plan, or from the JSON that `placements` makes of one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ollama_fleet.planner.board import Board, HostBoard
from ollama_fleet.planner.demand import Demand, Option, Placed
from ollama_fleet.planner.devices import Device
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.pools import Pool
from ollama_fleet.spec.fleet import FIRST_RESERVED_PORT


@dataclass(frozen=True)
class EarlierSlice:
    """One slice as it was planned before."""

    name: str
    gpus: tuple[int | str, ...]
    port: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """A slice that stays: whose it is, where, and by which option it fits."""

    earlier: EarlierSlice
    host: int
    demands: tuple[Demand, ...]
    options: tuple[Option, ...]
    devices: tuple[Device, ...]

    @property
    def pooled(self) -> bool:
        """Whether it belongs to a pool."""
        return self.demands[0].pool is not None


@dataclass(frozen=True)
class Previous:
    """Slices of wishes per host; empty for a plan from nothing."""

    hosts: Mapping[str, tuple[EarlierSlice, ...]] = field(default_factory=dict)

    def matching(
        self,
        board: Board,
        demands: Sequence[Demand],
        options: dict[Demand, list[Option]],
    ) -> Iterator[Kept]:
        """Earlier slices that are still wished for, with the models and GPUs they had."""
        by_name: dict[str, list[Demand]] = {}
        for demand in demands if self.hosts else ():
            by_name.setdefault(demand.slice_name, []).append(demand)
        for order, host in enumerate(board.hosts) if self.hosts else ():
            for earlier in self.hosts.get(host.name, ()):
                wished = by_name.get(_stem(earlier.name, by_name), [])
                here = [one for one in wished if one.hosts is None or host.name in one.hosts]
                kept = _match(earlier, order, host, here, options)
                if kept:
                    yield kept


def previous_of(plans: Mapping[str, HostPlan]) -> Previous:
    """What a plan says of its wishes' slices."""
    return Previous(
        {
            name: tuple(
                EarlierSlice(item.name, item.gpus, item.port, item.models)
                for item in plan.slices
                if item.wished
            )
            for name, plan in plans.items()
        }
    )


def to_json(previous: Previous) -> dict[str, Any]:
    """As plain data, to be kept beside an inventory."""
    return {
        name: [
            {"name": s.name, "gpus": list(s.gpus), "port": s.port, "models": list(s.models)}
            for s in slices
        ]
        for name, slices in previous.hosts.items()
    }


def from_json(data: Mapping[str, Any]) -> Previous:
    """The reverse. Raises KeyError, TypeError or ValueError for anything else than `to_json` makes."""
    return Previous({str(name): tuple(map(_earlier, slices)) for name, slices in data.items()})


def _earlier(data: Mapping[str, Any]) -> EarlierSlice:
    gpus, port = tuple(data["gpus"]), int(data["port"])
    if not gpus or not all(map(_is_selector, gpus)) or not 1024 <= port < FIRST_RESERVED_PORT:
        raise ValueError(f"no GPUs or port of a slice: {gpus}, {port}")
    return EarlierSlice(str(data["name"]), gpus, port, tuple(map(str, data["models"])))


def _is_selector(value: object) -> bool:
    """A position, or `<gpu>/<profile>/<number>` of a MIG instance."""
    if isinstance(value, str):
        return re.fullmatch(r"\d{1,3}/[^/]+/\d{1,3}", value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256


def keep_alone(board: Board, kept: Kept) -> Placed | None:
    """Take its GPUs again; None when somebody else has them now."""
    if not board.hosts[kept.host].take_exactly(kept.devices):
        return None
    seat = kept.options[0].seat
    name, port = kept.earlier.name, kept.earlier.port
    return Placed(kept.host, kept.demands, kept.devices, seat, name, port)


def keep_pooled(
    board: Board,
    pools: dict[tuple[tuple[str | int, ...], str], Pool],
    kept: Kept,
    left: dict[Demand, int],
    used: dict[Demand, dict[int, int]],
) -> None:
    """Open its GPU again with those of its wishes that still fit there together."""
    wished = [(d, o) for d, o in zip(kept.demands, kept.options, strict=True) if left[d]]
    key = kept.demands[0].pool
    if not wished or key is None or not board.hosts[kept.host].take_exactly(kept.devices):
        return
    pool = pools.setdefault(key, Pool())
    target = pool.open(kept.host, kept.devices[0])
    target.name, target.port = kept.earlier.name, kept.earlier.port
    for demand, option in wished:
        if target.members and not target.has_room(option.seat):
            continue
        pool.add(target, demand, option.seat)
        left[demand] -= 1
        used[demand][kept.host] = used[demand].get(kept.host, 0) + 1


def _stem(name: str, known: Mapping[str, Any]) -> str:
    """`chat-2` is a further slice of `chat`, unless a wish is named so itself."""
    stem, _, number = name.rpartition("-")
    return name if name in known or not number.isdigit() else stem


def _match(
    earlier: EarlierSlice,
    order: int,
    host: HostBoard,
    wished: Sequence[Demand],
    options: dict[Demand, list[Option]],
) -> Kept | None:
    devices = _devices(earlier, host)
    if not devices:
        return None
    fitting = [
        (demand, option)
        for demand in wished
        if set(demand.tags) <= set(earlier.models)
        and (demand.pool or set(demand.tags) == set(earlier.models))
        for option in options[demand]
        if option.kind == devices[0].kind and option.seat.gpus == len(devices)
    ]
    fitting = fitting if fitting and fitting[0][0].pool else fitting[:1]
    if not fitting:
        return None
    return Kept(earlier, order, tuple(d for d, _ in fitting), tuple(o for _, o in fitting), devices)


def _devices(earlier: EarlierSlice, host: HostBoard) -> tuple[Device, ...]:
    """The GPUs that its selectors name on this host today; empty when one is gone."""
    found = [_device(selector, host) for selector in earlier.gpus]
    devices = tuple(device for device in found if device)
    alike = len({device.kind for device in devices}) == 1
    return devices if alike and len(devices) == len(found) else ()


def _device(selector: int | str, host: HostBoard) -> Device | None:
    if isinstance(selector, int):
        return Device(selector, host.gpus[selector]) if selector < len(host.gpus) else None
    gpu, profile, instance = selector.split("/")
    for kind in host.kinds():
        if kind.profile == profile and int(gpu) < len(host.gpus):
            device = Device(int(gpu), kind, int(instance))
            if kind.card is host.gpus[int(gpu)].card:
                return device
    return None


def moved(previous: Previous, plans: Mapping[str, HostPlan]) -> tuple[str, ...]:
    """Slices of the earlier plan that are elsewhere now, or nowhere: `gpu01/chat`."""
    now = {
        (name, item.name): (item.gpus, item.port)
        for name, plan in plans.items()
        for item in plan.slices
    }
    return tuple(
        f"{name}/{item.name}"
        for name, slices in previous.hosts.items()
        for item in slices
        if now.get((name, item.name)) != (item.gpus, item.port)
    )
