"""What `fleet lock` finds: which models a fleet names, what their tags mean now, and what that changes.

Asks registries; whoever calls writes the file.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from ollama_fleet.fetching import blobs_base
from ollama_fleet.model_lock import Lock
from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.registry import Manifest, Registry, RegistryError
from ollama_fleet.store import parse_name

AT_ONCE = 8
State = Literal["added", "kept", "moved", "dropped"]

# Full name of a model to every address that hosts fetch it from, with those hosts.
Named = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Change:
    """One model: what is locked, and what its tag means now.

    `before` None: it was not locked. `now` None: nobody names it any more. A `kept` one that was not
    asked for has both the same.
    """

    model: str
    state: State
    before: LockedModel | None
    now: LockedModel | None


def named_models(plans: Mapping[str, HostPlan], registries: Mapping[str, str | None]) -> Named:
    """Every model of some hosts; `registries` says for each host what stands for the public one."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for host, plan in plans.items():
        for model in plan.pulled:
            bases = found.setdefault(model, {})
            base = blobs_base(parse_name(model), registries[host])
            bases[base] = (*bases.get(base, ()), host)
    return found


def ask_registries(
    named: Named, models: Collection[str], registry: Registry
) -> tuple[dict[str, Manifest], list[str]]:
    """What the tags of `models` are now, and in words what could not be found out."""
    found: dict[str, Manifest] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {model: pool.submit(tag_now, model, named[model], registry) for model in models}
    for model, answer in waiting.items():
        try:
            found[model] = answer.result()
        except RegistryError as error:
            problems.append(f"{model}: {error}")
    return found, problems


def tag_now(model: str, bases: Mapping[str, tuple[str, ...]], registry: Registry) -> Manifest:
    """What one tag is, wherever hosts fetch it from. Raises RegistryError, also where they differ."""
    tag = parse_name(model).tag
    found = {base: registry.manifest(base, tag) for base in bases}
    first, *others = found.values()
    if any(manifest.digest != first.digest for manifest in others):
        said = "; ".join(
            f"{manifest.digest[:12]} at {base} ({', '.join(bases[base])})"
            for base, manifest in found.items()
        )
        raise RegistryError(
            f"the registries of this fleet have different ones: {said}. Bring the mirror up to date, or "
            "give all hosts one `registry:`"
        )
    return first


def changes(
    named: Collection[str], lock: Lock, found: Mapping[str, Manifest]
) -> tuple[Change, ...]:
    """What becomes of each model, by name."""
    return tuple(
        _change(model, model in named, lock.get(model), found.get(model))
        for model in sorted({*named, *lock})
    )


def _change(
    model: str, is_named: bool, before: LockedModel | None, found: Manifest | None
) -> Change:
    if not is_named:
        return Change(model, "dropped", before, None)
    now = LockedModel(model, found.digest, found.text) if found else before
    if before is None:
        return Change(model, "added", None, now)
    same = now is not None and now.digest == before.digest
    return Change(model, "kept" if same else "moved", before, before if same else now)


def locked_after(made: Collection[Change]) -> dict[str, LockedModel]:
    """The lock file's content when all of `made` is taken."""
    return {change.model: change.now for change in made if change.now}


def to_ask(named: Collection[str], lock: Lock, moved: Callable[[str], bool]) -> list[str]:
    """Models to ask for: those that are not locked, and those of the others that may have `moved`."""
    return [model for model in named if model not in lock or moved(model)]
