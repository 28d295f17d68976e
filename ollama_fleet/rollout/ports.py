"""What a host's hop has to know while its slices change one by one: where each of them listens just now.

Pure.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.rollout.groups import Place


def at_ports(plan: HostPlan, found: Mapping[str, Place], changed: Collection[str]) -> HostPlan:
    """The plan with every slice where it listens when only the units `changed` are as planned.

    A new slice whose port somebody else still has is left out: its requests would be answered by that one.
    """
    taken = {place.port for unit, place in found.items() if unit not in changed}
    slices = []
    for item in plan.slices:
        if item.unit in changed or item.unit not in found:
            if item.unit in changed or item.port not in taken:
                slices.append(item)
        else:
            slices.append(replace(item, port=found[item.unit].port))
    return replace(plan, slices=tuple(slices))
