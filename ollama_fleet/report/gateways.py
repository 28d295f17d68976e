"""The gateways of a plan, and which slices serve each model behind them: for people and for programs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.model_pools import Member, ModelPool

# Of one model, named in a line; programs get all.
MOST_NAMED = 8


def gateways_data(
    gateways: Iterable[GatewayPlan], engines: Iterable[GatewayPlan]
) -> dict[str, list[dict[str, Any]]]:
    """Gateways that a deploy sets up and engines that a site has (not `managed`), and the pools, which are
    the same for all."""
    both = [(plan, True) for plan in gateways] + [(plan, False) for plan in engines]
    pools = both[0][0].pools if both else ()
    return {
        "gateways": [_machine(plan, managed) for plan, managed in both],
        "pools": [_pool(pool) for pool in pools],
    }


def gateway_lines(
    gateways: Sequence[GatewayPlan], engines: Sequence[GatewayPlan], has_keys: bool = True
) -> Iterator[str]:
    """One line for each machine, then one for each model: how many requests at once, by which slices.

    `has_keys`: somebody has a key, where one is asked for."""
    for plan in gateways:
        yield f"{_at(plan)}  gateway {plan.url}"
    if any(plan.needs_key for plan in gateways) and not has_keys:
        yield "  nobody has a key for it yet: `fleet key add INVENTORY NAME`"
    for plan in engines:
        yield f"{_at(plan)}  an engine of yours, which hosts let in"
    pools = next((plan.pools for plan in (*gateways, *engines)), ())
    width = max((len(pool.model) for pool in pools), default=0)
    for pool in pools:
        yield f"  {pool.model:{width}}  {_served(pool)}"


def _at(plan: GatewayPlan) -> str:
    where = plan.address if plan.host == plan.name else f"on {plan.host}, {plan.address}"
    return f"{plan.name} ({where})"


def _served(pool: ModelPool) -> str:
    alike = len({member.weight for member in pool.members}) == 1
    named = ", ".join(_member(member, alike) for member in pool.members[:MOST_NAMED])
    more = len(pool.members) - MOST_NAMED
    total = sum(member.parallel for member in pool.members)
    only = "; no other while that is changed" if len(pool.members) == 1 else ""
    return f"{total} at once: {named}{f' and {more} more' if more > 0 else ''}{only}"


def _member(member: Member, alike: bool) -> str:
    return f"{member.upstream} {member.parallel}" + ("" if alike else f" (weight {member.weight})")


def _machine(plan: GatewayPlan, managed: bool) -> dict[str, Any]:
    return {
        "name": plan.name,
        "host": plan.host,
        "address": plan.address,
        "url": plan.url if managed else None,
        "managed": managed,
    }


def _pool(pool: ModelPool) -> dict[str, Any]:
    slices = [
        {"slice": member.upstream, "parallel": member.parallel, "weight": member.weight}
        for member in pool.members
    ]
    return {"model": pool.model, "slices": slices}
