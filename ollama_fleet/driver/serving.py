"""Slices while the driver is changed: out of service before it, and back after it. Pure text."""

from ollama_fleet.draining import drain, resume, unmark
from ollama_fleet.driver.state import State
from ollama_fleet.planner.plan import DEVICES_UNIT, HostPlan
from ollama_fleet.rollout.proof import returned
from ollama_fleet.rollout.script import name_of


def slice_functions(plan: HostPlan, state: State) -> list[str]:
    """Functions that the driver's own ones call."""
    # Also those that did not run when the host was asked: they may have waited for a driver, and found one.
    every = list(dict.fromkeys([*state.slices, *(item.unit for item in plan.slices)]))
    ports = [item.port for item in plan.slices]
    stop = drain(every, ports, plan.provision.drain_timeout_s, plan.notice_s)
    names = [name_of(unit) for unit in every] if plan.hop else []
    return [
        # What waits for device nodes loads modules itself.
        f"drain_slices() {{\n{stop}\nsystemctl stop {DEVICES_UNIT} 2>/dev/null || :\n}}",
        f"resume_slices() {{\n:\n{resume(every)}\n}}",
        # However it ends: whether a slice serves is then a matter of its health.
        f"unmark_slices() {{\n:\n{unmark(names, plan.notice_s)}\n}}",
    ]


def back_in_service(plan: HostPlan, state: State) -> list[str]:
    """Behind a gateway: their models are loaded before requests come. Not before a boot, which stops them
    again."""
    slices = [item for item in plan.slices if item.unit in state.slices]
    if plan.hop is None or not slices:
        return []
    steps = "\n".join(returned(plan, slices))
    return [f'if [ "$later" = no ] && [ ! -e "$work/later" ]; then\n{steps}\nfi']


def serving_rows(plan: HostPlan) -> str:
    """`unit port model` of each slice."""
    return "\n".join(
        f"{item.unit} {item.port} {item.models[0] if item.models else '-'}" for item in plan.slices
    )
