"""A fleet's inventory to its plan: every host's slices, their memory, and what has no place.

    plan = plan_fleet(fleet)        # `plan.required()` raises PlanRefusedError when refused
    plan.hosts["gpu01"].slices

Deterministic, and stable: wishes are placed in the order of the file, so one that is added at the
end leaves the others where they are; with an earlier plan none moves that still fits. Only when
that leaves something without a place are they packed anew, more tightly.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.absent import emptied
from ollama_fleet.planner.attempt import Attempt, attempt
from ollama_fleet.planner.board import HostBoard, new_board
from ollama_fleet.planner.demand import Demand, Option, Placed, demands_of, options_of
from ollama_fleet.planner.hosts import WrittenHost, host_plan, written_host
from ollama_fleet.planner.needs import Needs
from ollama_fleet.planner.patterns import first_fit, repeated_patterns
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.previous import Previous, moved
from ollama_fleet.planner.refusal import PlanRefusedError, Refusal
from ollama_fleet.planner.rollout import with_rollout
from ollama_fleet.planner.solver import fewest_bins, solver_is_there
from ollama_fleet.planner.tight import packer
from ollama_fleet.planner.why import wish_refusal
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.spec.known import known_to
from ollama_fleet.spec.monitoring_ports import taken_ports

SOLVER_S = 5.0
NOTHING = Previous()


@dataclass(frozen=True)
class FleetPlan:
    """All hosts by name, what is refused, and which slices of an earlier plan moved."""

    hosts: Mapping[str, HostPlan]
    refusals: tuple[Refusal, ...] = ()
    moved: tuple[str, ...] = ()

    @property
    def gpus_used(self) -> int:
        """GPUs and MIG instances that slices have."""
        return sum(len(item.gpus) for plan in self.hosts.values() for item in plan.slices)

    def required(self, source: str = "") -> "FleetPlan":
        """The plan itself. Raises PlanRefusedError when anything is refused."""
        if self.refusals:
            raise PlanRefusedError(self.refusals, source)
        return self


def plan_fleet(
    fleet: Fleet,
    *,
    hardware: Mapping[str, Hardware] | None = None,
    previous: Previous = NOTHING,
    tight: bool = False,
    solver_s: float = SOLVER_S,
) -> FleetPlan:
    """Plan every host of a fleet.

    + hardware: what hosts were found to have, instead of what the inventory declares
    + previous: an earlier plan, whose slices stay where they still fit
    + tight: use the fewest GPUs, at the cost of moving slices; default: what the fleet's `packing`
      says, and where something would be left without a place
    + solver_s: most seconds for the solver, if it is installed and needed; 0: without it
    """
    fleet = emptied(fleet)
    needs = Needs(known_to(fleet))
    found = hardware or {}
    written = [
        written_host(name, spec, needs, found.get(name), taken_ports(fleet, name))
        for name, spec in fleet.hosts.items()
    ]
    boards = [host.board for host in written]
    demands = demands_of(fleet)
    options = _options(demands, boards, needs)
    packed = tight or fleet.packing == "tight"
    best = _best(boards, demands, options, previous, packed, solver_s)
    plans = with_rollout(fleet, _host_plans(fleet, written, best))
    refusals = [refusal for host in written for refusal in host.refusals]
    refusals += [
        wish_refusal(demand, count, options[demand], boards, best, needs)
        for demand, count in best.missing.items()
    ]
    refusals += _contradictions(plans.values())
    return FleetPlan(plans, tuple(refusals), moved(previous, plans))


def _contradictions(plans: Iterable[HostPlan]) -> Iterator[Refusal]:
    """A model that a host is to have and not to have: only the plan knows, as wishes go anywhere."""
    for plan in plans:
        for model in plan.store.absent:
            if model in plan.models:
                what = (
                    f"{model} is to be removed, but this host serves or keeps it; say one of both"
                )
                yield Refusal(f"hosts.{plan.host}.models.absent", what)


def plan_host(name: str, spec: HostSpec, hardware: Hardware | None = None) -> HostPlan:
    """Plan one host by itself. Raises PlanRefusedError."""
    fleet = Fleet.model_construct(version=1, hosts={name: spec})
    found = {name: hardware} if hardware else None
    return plan_fleet(fleet, hardware=found).required().hosts[name]


def _options(
    demands: Sequence[Demand], boards: Sequence[HostBoard], needs: Needs
) -> dict[Demand, list[Option]]:
    if not demands:
        return {}
    board = new_board(boards)
    return {demand: options_of(demand, board, needs) for demand in demands}


def _best(
    boards: Sequence[HostBoard],
    demands: Sequence[Demand],
    options: dict[Demand, list[Option]],
    previous: Previous,
    tight: bool,
    solver_s: float,
) -> Attempt:
    """What moves least if everything has a place there, else what uses the fewest GPUs."""
    decreasing = sorted(demands, key=lambda demand: _size(demand, options[demand]))
    first = attempt(boards, demands, options, previous)
    if not demands or not (tight or first.missing):
        return first
    if previous.hosts and not tight:
        kept = attempt(boards, decreasing, options, previous)
        if not kept.missing:
            return kept
    again = [attempt(boards, demands, options, NOTHING)] if previous.hosts else []
    attempts = [first, *again, *_anew(boards, demands, decreasing, options)]
    if _may_solve(demands, solver_s) and (tight or all(made.missing for made in attempts)):
        solve = packer(partial(fewest_bins, seconds=solver_s))
        attempts.append(attempt(boards, decreasing, options, NOTHING, solve))
    return min(attempts, key=lambda made: (made.unplaced, made.gpus))


def _anew(
    boards: Sequence[HostBoard],
    demands: Sequence[Demand],
    decreasing: Sequence[Demand],
    options: dict[Demand, list[Option]],
) -> Iterator[Attempt]:
    """Attempts that owe nothing to an earlier plan; first fit is one, so that none is worse."""
    yield attempt(boards, decreasing, options, NOTHING)
    # Who has the fewest places to go to goes first: a wish with `hosts:` must not find them taken.
    fewest = sorted(decreasing, key=lambda demand: _places(demand, boards, options[demand]))
    yield attempt(boards, fewest, options, NOTHING)
    if any(demand.pool for demand in demands):
        yield attempt(boards, decreasing, options, NOTHING, packer(repeated_patterns))
        yield attempt(boards, demands, options, NOTHING, packer(first_fit))


def _places(demand: Demand, boards: Sequence[HostBoard], options: Sequence[Option]) -> int:
    """GPUs that a demand could be put on, over all hosts where it may be."""
    kinds = {option.kind for option in options}
    return sum(
        board.most(kind)
        for board in boards
        if demand.hosts is None or board.name in demand.hosts
        for kind in kinds
    )


def _may_solve(demands: Sequence[Demand], solver_s: float) -> bool:
    return solver_s > 0 and any(demand.pool for demand in demands) and solver_is_there()


def _size(demand: Demand, options: Sequence[Option]) -> tuple[int, int, bool, float, int]:
    """Hardest to place first: most GPUs, then fewest kinds to choose from, then largest."""
    if not options:
        return (0, 0, True, 0.0, demand.number)
    seat = options[0].seat
    return (-seat.gpus, len(options), bool(demand.pool), -seat.needed_mib, demand.number)


def _host_plans(fleet: Fleet, written: Sequence[WrittenHost], best: Attempt) -> dict[str, HostPlan]:
    placed: list[list[Placed]] = [[] for _ in written]
    for item in best.placed:
        placed[item.host].append(item)
    return {
        host.name: host_plan(host, best.board.hosts[order], placed[order], fleet)
        for order, host in enumerate(written)
    }
