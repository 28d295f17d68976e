"""How a change goes over the hosts, and which models it takes away for how long.

Frozen values; `with_rollout` puts them into the hosts' plans. They say what is asked for, not how it is
done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ollama_fleet.spec.known import full_model_name

if TYPE_CHECKING:
    from ollama_fleet.planner.plan import HostPlan, SlicePlan
    from ollama_fleet.spec.fleet import Fleet

# A SATA SSD; NVMe and the page cache are faster, a network disk may not be.
DISK_MIB_S = 500
# Its process, its GPU discovery, and the gateways that have to notice, twice.
START_S = 12
SLICES_PER_S = 200


@dataclass(frozen=True)
class Rollout:
    """How changes go over the fleet.

    `order`: the hosts that take turns; `batch`: how many change at once; `canary`: the one that goes first
    if it has to change, `has_canary` whether the first one goes alone; `pools`: model to its slices, as
    <host>.<slice>.
    """

    order: tuple[str, ...]
    batch: int = 1
    pause_on_failure: bool = True
    has_canary: bool = True
    canary: str | None = None
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def notice_s(self) -> int:
        """After so long every gateway has noticed that a slice is in or out of service: each looks at 200
        of them per second, at one no more than once a second."""
        slices = {name for pool in self.pools.values() for name in pool}
        return 1 + 2 * max(1, -(-len(slices) // SLICES_PER_S))

    def only_in(self, upstream: str) -> tuple[str, ...]:
        """Models that this slice alone serves."""
        return tuple(model for model, found in self.pools.items() if found == (upstream,))


def with_rollout(fleet: "Fleet", plans: "Mapping[str, HostPlan]") -> "dict[str, HostPlan]":
    """The plans of a fleet's hosts, each with its rollout and what to know of it; unchanged where there is
    no gateway."""
    if fleet.gateway is None:
        return dict(plans)
    rollout = rollout_of(fleet, plans)
    changed = {name: replace(plan, rollout=rollout) for name, plan in plans.items()}
    return {
        name: replace(plan, notes=(*plan.notes, *_notes(plan))) for name, plan in changed.items()
    }


def rollout_of(fleet: "Fleet", plans: "Mapping[str, HostPlan]") -> Rollout:
    """What the inventory asks for, in numbers."""
    spec = fleet.rollout
    order = tuple(name for name, plan in plans.items() if plan.removal is None)
    batch = spec.batch
    if isinstance(batch, str):
        batch = max(1, len(order) * int(batch.rstrip("%")) // 100)
    return Rollout(
        order=order,
        batch=batch,
        pause_on_failure=spec.pause_on_failure,
        has_canary=spec.canary is not False,
        canary=spec.canary if isinstance(spec.canary, str) else None,
        pools=_pools(plans),
    )


def away_words(plan: "HostPlan", item: "SlicePlan") -> Iterator[str]:
    """One line for the models that nobody else serves, while this slice is away."""
    only = plan.rollout.only_in(f"{plan.host}.{item.name}") if plan.rollout else ()
    if only:
        have = "has" if len(only) == 1 else "have"
        yield f"{', '.join(only)} {have} only {plan.host}.{item.name}: {_how_long(plan, item)}"


def _how_long(plan: "HostPlan", item: "SlicePlan") -> str:
    loaded = {one.model for one in item.preload} or set(item.models[:1])
    mib = sum(
        use.mib
        for entry in plan.memory
        if entry.owner == item.name
        for use in entry.uses
        if use.model in loaded
    )
    after = "once its running requests have ended"
    if not mib:
        return f"a change takes it away for as long as it loads, {after}"
    seconds = START_S + mib / DISK_MIB_S
    how = f"{mib / 1024:.1f} GiB at {DISK_MIB_S} MiB/s, and {START_S} s to stop and start"
    return f"a change takes it away for about {seconds:.0f} s, {after} ({how})"


def _notes(plan: "HostPlan") -> list[str]:
    return [line for item in plan.slices for line in away_words(plan, item)]


def _pools(plans: "Mapping[str, HostPlan]") -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, plan in plans.items():
        for item in plan.slices if plan.removal is None else ():
            for model in map(full_model_name, item.models):
                found.setdefault(model, []).append(f"{name}.{item.name}")
    return {model: tuple(found[model]) for model in sorted(found)}
