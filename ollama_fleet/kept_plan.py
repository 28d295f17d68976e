"""The plan that is kept beside an inventory, so that tomorrow's plan moves no slice of today's.

`prod.plan.json` beside `prod.yml`: written by `fleet plan --keep`, meant to be committed; read by
every plan and every deploy. Without it wishes are placed by the order of the file alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.previous import Previous, from_json, previous_of, to_json
from ollama_fleet.problems import InputError, Problem

LARGEST_BYTES = 64 * 2**20


def kept_plan_of(inventory: Path) -> Path:
    """Where the plan of `prod.yml` or `prod.py` is kept."""
    return inventory.with_suffix(".plan.json")


def read_kept(inventory: Path) -> Previous:
    """The kept plan; an empty one where none is kept. Raises InputError when it is no plan."""
    path = kept_plan_of(inventory)
    if not path.exists():
        return Previous()
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError("too large")
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        what = "is no plan that `fleet plan --keep` wrote; write it again, or delete it"
        raise InputError([Problem(str(path), "", what)]) from None


def keep(inventory: Path, plans: Mapping[str, HostPlan]) -> Path:
    """Write the plan beside its inventory, atomically; returns where."""
    path = kept_plan_of(inventory)
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps(to_json(previous_of(plans)), indent=1) + "\n", encoding="utf-8")
    staged.replace(path)
    return path
