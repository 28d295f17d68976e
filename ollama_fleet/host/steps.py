"""What a step of a deploy is: it concerns the hosts that are to be present, or those to be absent.

The one place that tells them apart. On a host that a step does not concern it asks and does nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import cast

from pyinfra.api import deploy

from ollama_fleet.planner.plan import HostPlan

Step = Callable[[HostPlan], None]


def step(name: str) -> Callable[[Step], Step]:
    """A pyinfra deploy of this name, on hosts that are to be present."""
    return _where(name, lambda plan: plan.removal is None)


def removal_step(name: str) -> Callable[[Step], Step]:
    """The same on hosts that are to be absent."""
    return _where(name, lambda plan: plan.removal is not None)


def _where(name: str, concerns: Callable[[HostPlan], bool]) -> Callable[[Step], Step]:
    def decorate(function: Step) -> Step:
        named = cast(Step, deploy(name)(function))

        @wraps(function)
        def run(plan: HostPlan) -> None:
            if concerns(plan):
                named(plan)

        return run

    return decorate
