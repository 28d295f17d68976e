"""The models of a gateway as they are now: who waits, who is served, how the last minute was. Pure."""

from collections.abc import Iterator

from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.top.frame import Balancer
from ollama_fleet.top.model import PoolNow
from ollama_fleet.top.traffic import Traffic


def pools_now(plan: GatewayPlan, balancer: Balancer | None, traffic: Traffic) -> Iterator[PoolNow]:
    """One for each model of the plan, in its order; the balancer's figures are None where it is silent."""
    for pool in plan.pools:
        rates = traffic.of_model(pool.model)
        waiting, running = (balancer.pools.get(pool.name) if balancer else None) or (None, None)
        states = [balancer.states.get(one.upstream, "") for one in pool.members] if balancer else []
        yield PoolNow(
            gateway=plan.name,
            model=pool.model,
            waiting=waiting,
            running=running,
            up=sum(state.startswith("UP") for state in states) if balancer else None,
            slices=len(pool.members),
            requests_per_s=rates.requests_per_s,
            tokens_per_s=rates.tokens_per_s,
            first_byte_s=rates.first_byte_s,
            slowest_first_byte_s=rates.slowest_first_byte_s,
            faults=rates.faults,
        )
