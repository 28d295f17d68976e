"""A plan for programs: stable keys, every term with its arithmetic. Values in, plain data out."""

from collections.abc import Mapping
from typing import Any

from ollama_fleet.planner.fleet import FleetPlan
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.planner.previous import previous_of, to_json
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.report.plan_bars import components
from ollama_fleet.sizing import HostNeeds


def plan_data(plan: FleetPlan, hosts: list[str], needs: Mapping[str, HostNeeds]) -> dict[str, Any]:
    """The plan of these hosts; `placements` of all, for `--previous`."""
    return {
        "refused": bool(plan.refusals),
        "hosts": {name: _host(plan.hosts[name], needs.get(name)) for name in hosts},
        "refusals": [_refusal(refusal) for refusal in plan.refusals],
        "moved": list(plan.moved),
        "placements": to_json(previous_of(plan.hosts)),
    }


def _host(plan: HostPlan, needs: HostNeeds | None) -> dict[str, Any]:
    return {
        "state": "absent" if plan.removal else "present",
        "slices": [_slice(item) for item in plan.slices],
        "gpus": [_gpu(memory) for memory in plan.memory],
        "mig": [{"gpu": gpu, "profiles": list(names)} for gpu, names in plan.mig],
        "models": list(plan.models),
        "needs": _needs(needs) if needs else None,
        "notes": list(plan.notes),
    }


def _needs(needs: HostNeeds) -> dict[str, Any]:
    return {
        "ram_mib": needs.ram.least,
        "cpu_cores": needs.cpu.least,
        "disk_mib": needs.disk.least,
        "why": {name: str(getattr(needs, name)) for name in ("ram", "cpu", "disk")},
    }


def _slice(item: SlicePlan) -> dict[str, Any]:
    return {
        "name": item.name,
        "gpus": list(item.gpus),
        "port": item.port,
        "url": item.url,
        "unit": item.unit,
        "models": list(item.models),
        "preload": [one.model for one in item.preload],
        "environment": item.environment,
        "env_file": item.env_file,
        "wished": item.wished,
    }


def _gpu(memory: GpuMemory) -> dict[str, Any]:
    return {
        "gpu": memory.selector,
        "card": memory.card,
        "slice": memory.owner,
        "reserved": memory.reserved,
        "total_mib": memory.total_mib,
        "usable_mib": memory.usable_mib,
        "used_mib": round(memory.used_mib, 1),
        "margin_mib": round(memory.margin_mib, 1),
        "free_mib": 0.0 if memory.reserved else round(memory.free_mib, 1),
        "fits": memory.fits,
        "components": {name: round(mib, 1) for name, mib in components(memory).items()},
        "models": [
            {
                "model": use.model,
                "mib": round(use.mib, 1),
                "terms": [
                    {"name": term.name, "mib": round(term.mib, 1), "why": term.formula}
                    for term in use.terms
                ],
            }
            for use in memory.uses
        ],
        "unchecked": list(memory.unchecked),
        "why": memory.explain(),
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "where": refusal.where,
        "what": refusal.what,
        "arithmetic": list(refusal.arithmetic),
        "would_fit": list(refusal.nearest),
    }
