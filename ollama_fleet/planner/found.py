"""A plan against the GPUs that a host turned out to have, where the inventory named none.

For preflight: the host has been asked, but nothing on it has been changed.
"""

from typing import cast

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.devices import gpus_of, position_of
from ollama_fleet.planner.explicit import seat_slice, slice_refusal
from ollama_fleet.planner.needs import Needs
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.spec.fleet import HostSpec, SliceSpec
from ollama_fleet.spec.known import Known
from ollama_fleet.vram import KvCache


def memory_problems(plan: HostPlan, hardware: Hardware) -> list[str]:
    """Slices that do not fit the GPUs found; empty when all do, or were checked with the plan."""
    if plan.memory:
        return []
    needs = Needs(Known({}, {}))
    kinds = gpus_of(HostSpec(), needs.known, hardware)
    found = []
    for item in plan.slices:
        positions = [position_of(selector, hardware) for selector in item.gpus]
        mine = [kinds[p] for p in positions if p is not None and p < len(kinds)]
        if item.overcommit or len(mine) < len(item.gpus):
            continue  # a GPU that is not there is a matter of binding
        refusal = slice_refusal("", seat_slice(_as_written(item), item.gpus, mine, needs), needs)
        if refusal:
            found.append(f"slice '{item.name}'{refusal.problem('')}")
    return found


def _as_written(item: SlicePlan) -> SliceSpec:
    told = item.environment
    flash = told.get("OLLAMA_FLASH_ATTENTION")
    return SliceSpec.model_construct(
        name=item.name,
        gpus=list(item.gpus),
        models=list(item.models),
        context=int(told["OLLAMA_CONTEXT_LENGTH"]),
        parallel=int(told["OLLAMA_NUM_PARALLEL"]),
        kv_cache=cast(KvCache, told["OLLAMA_KV_CACHE_TYPE"]),
        flash_attention=None if flash is None else flash.lower() in ("1", "true"),
        env=dict(told),
    )
