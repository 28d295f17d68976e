"""The lock file beside an inventory: what each tag meant when somebody looked, by manifest digest.

`prod.lock.json` beside `prod.yml`: written by `fleet lock`, meant to be committed; read by every plan
and every deploy. A model that is in it has the same weights on all hosts, and later; one that is not
is whatever its tag means when a host fetches it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.store import blobs_of

VERSION = 1
LARGEST_BYTES = 64 * 2**20

# Full name of a model to what it is.
Lock = Mapping[str, LockedModel]


def lock_path_of(inventory: Path) -> Path:
    """Where the models of `prod.yml` or `prod.py` are locked."""
    return inventory.with_suffix(".lock.json")


def read_lock(inventory: Path) -> dict[str, LockedModel]:
    """The locked models; none where there is no lock file. Raises InputError with all that is wrong."""
    path = lock_path_of(inventory)
    if not path.exists():
        return {}
    models = _models(path)
    problems = [
        Problem(str(path), f"models.{name}", what)
        for name, entry in models.items()
        for what in _wrong(entry)
    ]
    if problems:
        raise InputError(problems)
    return {
        name: LockedModel(name, entry["digest"].removeprefix("sha256:"), entry["manifest"])
        for name, entry in models.items()
    }


def write_lock(inventory: Path, lock: Lock) -> Path:
    """Write the lock file, atomically; returns where."""
    path = lock_path_of(inventory)
    models = {
        name: {
            "digest": f"sha256:{lock[name].digest}",
            "bytes": locked_bytes(lock[name]),
            "manifest": lock[name].manifest,
        }
        for name in sorted(lock)
    }
    staged = path.with_suffix(".new")
    text = json.dumps({"version": VERSION, "models": models}, indent=1)
    staged.write_text(text + "\n", encoding="utf-8")
    staged.replace(path)
    return path


def with_lock(plans: Mapping[str, HostPlan], lock: Lock) -> dict[str, HostPlan]:
    """The plans, each with what is locked of its models."""
    return {name: _locked(plan, lock) for name, plan in plans.items()}


def locked_bytes(locked: LockedModel) -> int:
    """Size of a locked model in bytes."""
    return sum((blobs_of(locked.manifest) or {}).values())


def _locked(plan: HostPlan, lock: Lock) -> HostPlan:
    found = tuple(lock[model] for model in plan.pulled if model in lock)
    return replace(plan, store=replace(plan.store, locked=found))


def _models(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == VERSION:
            return dict(content["models"])
        what = f"is of version {content['version']}, and this is version {VERSION}; write it again"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        what = "is no lock file that `fleet lock` wrote; delete it, then run `fleet lock` again"
    raise InputError([Problem(str(path), "", what)])


def _wrong(entry: Any) -> Iterator[str]:
    again = "delete this entry, then run `fleet lock` again"
    fields = ("digest", "manifest")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in fields):
        yield f"has no `digest` or no `manifest`; {again}"
    elif not re.fullmatch(r"sha256:[0-9a-f]{64}", entry["digest"]):
        yield f"'{entry['digest'][:80]}' is no digest of the form sha256:<64 hex digits>; {again}"
    elif (
        hashlib.sha256(entry["manifest"].encode(errors="surrogatepass")).hexdigest()
        != entry["digest"][7:]
    ):
        yield f"its `manifest` does not have the digest {entry['digest']}; somebody changed one; {again}"
    elif blobs_of(entry["manifest"]) is None:
        yield f"its `manifest` is no manifest of a model; {again}"
