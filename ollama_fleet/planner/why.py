"""Why a wish has no place: it fits nowhere, or everything on which it fits is taken."""

from collections.abc import Iterator, Sequence

from ollama_fleet.planner.attempt import Attempt
from ollama_fleet.planner.board import HostBoard
from ollama_fleet.planner.demand import Demand, Option, allowed
from ollama_fleet.planner.devices import Kind, expected
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.nearest import nearest
from ollama_fleet.planner.needs import Needs, Seat
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.planner.windows import bits
from ollama_fleet.yamlfile import spell

SHOWN_HOSTS = 4


def wish_refusal(
    demand: Demand,
    missing: int,
    options: Sequence[Option],
    hosts: Sequence[HostBoard],
    found: Attempt,
    needs: Needs,
) -> Refusal:
    """The words for one wish of which `missing` replicas have no place."""
    where, title = spell(demand.at), f"'{demand.spec.title}'"
    allowed_hosts = [host for host in hosts if _may_use(demand, host)]
    if options:
        return _all_taken(where, title, demand, missing, options[0], found, needs)
    best = _best_kind(demand, allowed_hosts, needs)
    if best is None:
        return Refusal(where, f"{title}: {_no_gpu(demand, allowed_hosts)}")
    return _fits_nowhere(where, title, demand, *best, needs)


def _may_use(demand: Demand, host: HostBoard) -> bool:
    return demand.hosts is None or host.name in demand.hosts


def _fits_nowhere(
    where: str, title: str, demand: Demand, kind: Kind, gpus: int, needs: Needs
) -> Refusal:
    seat = needs.seat(demand.tags, demand.settings, kind, gpus)
    what = f"{title} does not fit {_count(gpus, kind)}, the most that a host offers for it"
    if demand.spec.gpus or demand.pool:
        what = f"{title} does not fit {_count(gpus, kind)}"
    near = nearest(demand.tags, demand.settings, kind, gpus, needs)
    return Refusal(where, what, (_sum(seat, kind),) if seat else (), near)


def _all_taken(
    where: str,
    title: str,
    demand: Demand,
    missing: int,
    option: Option,
    found: Attempt,
    needs: Needs,
) -> Refusal:
    replicas = demand.spec.replicas
    each = _count(option.seat.gpus, option.kind)
    what = f"{title} has no place left: each replica needs {each}"
    if replicas > 1:
        what = f"{title}: only {replicas - missing} of {replicas} replicas have a place, each on {each}"
    left = "free in the end: " + (", ".join(_free(found, demand)) or "nothing")
    near = dict.fromkeys((*_in_what_is_left(demand, found, needs), *_pools(demand, option, found)))
    fewer = (f"`replicas: {replicas - missing}`",) if missing < replicas else ()
    more = (f"{missing * option.seat.gpus} more {option.kind.name}",)
    return Refusal(where, what, (_sum(option.seat, option.kind), left), (*near, *fewer, *more))


def _in_what_is_left(demand: Demand, found: Attempt, needs: Needs) -> Iterator[str]:
    """Changes with which one replica would fit free GPUs."""
    for kind, gpus in _free_kinds(found, demand, needs):
        count = demand.spec.gpus or gpus
        if count <= gpus:
            yield from (
                f"{change} on {_count(count, kind)}"
                for change in nearest(demand.tags, demand.settings, kind, count, needs)
                if " × " not in change
            )


def _free_kinds(found: Attempt, demand: Demand, needs: Needs) -> list[tuple[Kind, int]]:
    """The kinds that have free GPUs, with the most on one host."""
    most: dict[Kind, int] = {}
    for host in found.board.hosts:
        if _may_use(demand, host):
            for kind, mask in host.free.items():
                if mask and allowed(demand, kind, needs.known):
                    most[kind] = max(most.get(kind, 0), mask.bit_count())
    return list(most.items())


def _pools(demand: Demand, option: Option, found: Attempt) -> Iterator[str]:
    """Slices with the same settings whose GPU has room for this wish as well."""
    if demand.pool or option.seat.gpus > 1:
        return
    for placed in found.placed:
        other = placed.demands[0]
        same = other.settings == demand.settings and other.pool is None
        kind = placed.devices[0].kind
        need = placed.seat.needed_mib + option.seat.needed_mib
        if same and len(placed.devices) == 1 and need <= kind.usable_mib:
            host = found.board.hosts[placed.host]
            if _may_use(demand, host) and other is not demand:
                yield f"one `pool:` with '{other.spec.title}', whose {kind.name} has room for both"
                return


def _free(found: Attempt, demand: Demand) -> Iterator[str]:
    """Free GPUs of the hosts that may be used, host by host."""
    shown = 0
    for host in found.board.hosts:
        free = sorted(gpu for mask in host.free.values() for gpu in bits(mask))
        if free and _may_use(demand, host):
            shown += 1
            if shown > SHOWN_HOSTS:
                yield "…"
                return
            yield f"{host.name} {expected(tuple(host.gpus[gpu] for gpu in free))}"


def _best_kind(demand: Demand, hosts: Sequence[HostBoard], needs: Needs) -> tuple[Kind, int] | None:
    """The largest that a host offers for this wish: the kind and how many of it."""
    offers = [
        (kind, demand.spec.gpus or (1 if demand.pool else host.most(kind)))
        for host in hosts
        for kind in host.kinds()
        if host.most(kind) and allowed(demand, kind, needs.known)
    ]
    return max(offers, key=lambda o: (o[0].usable_mib * o[1], o[0].name), default=None)


def _no_gpu(demand: Demand, hosts: Sequence[HostBoard]) -> str:
    if hosts and all(host.spec.state == "absent" for host in hosts):
        return f"it may only be on {', '.join(h.name for h in hosts)}, with `state: absent`"
    if not any(host.gpus for host in hosts):
        return "its hosts do not say which GPUs they have; write `gpus:` (`fleet discover HOST`)"
    if hidden := [host.name for host in hosts if host.hidden]:
        return (
            f"slices of {', '.join(hidden)} name GPUs by UUID or address, so it is not known which "
            "are left; write indexes there"
        )
    what = demand.spec.gpu or "GPU"
    return f"no {what} is free for wishes; all are reserved, in slices, or not allowed for it"


def _count(gpus: int, kind: Kind) -> str:
    return f"{gpus} × {kind.name}" if gpus > 1 else f"one {kind.name}"


def _sum(seat: Seat | None, kind: Kind) -> str:
    """The arithmetic of the fullest GPU."""
    if seat is None:
        return ""
    fullest = max(range(seat.gpus), key=lambda gpu: sum(use.mib for use in seat.uses(gpu)))
    memory = GpuMemory(0, kind.name, kind.total_mib, kind.usable_mib, uses=seat.uses(fullest))
    return memory.sum() + (" on the fullest GPU" if seat.gpus > 1 else "")
