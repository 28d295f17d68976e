"""Which models a slice loads by itself: those that it is planned to hold at the same time.

Pure; imports the planner's values and what an inventory may name.
"""

from collections.abc import Sequence
from dataclasses import replace

from ollama_fleet import catalogue
from ollama_fleet.planner.demand import Placed
from ollama_fleet.planner.devices import Kind
from ollama_fleet.planner.explicit import Seated
from ollama_fleet.planner.needs import LOAD_SHARE, Load
from ollama_fleet.planner.plan import Preloaded, SlicePlan
from ollama_fleet.spec.known import Known, full_model_name
from ollama_fleet.spec.servers import ServerSpec, WishSpec
from ollama_fleet.spec.warm_rules import MOST_LOADED, keeps_nothing

# What Ollama holds per GPU where it is not told (server/sched.go).
MOST_PER_GPU = 3


def most_loaded(item: SlicePlan) -> int:
    """How many models its server holds at the same time."""
    text = item.environment.get(MOST_LOADED, "")
    most = int(text) if text.isdigit() else 0
    return most or MOST_PER_GPU * max(1, len(item.gpus))


def held_models(seated: Seated) -> tuple[str, ...] | None:
    """Models of a slice that stay loaded together, in the order in which to load them; None when not known.

    By Ollama's own rule: it loads one beside others only if its prediction is at most LOAD_SHARE of
    what is free, and evicts otherwise. So whoever needs the most room beside it comes first.
    """
    if seated.unknown or seated.wrong or not seated.loads:
        return None
    tags = dict.fromkeys(map(full_model_name, seated.spec.models))
    return _held_on(list(tags), seated.loads, seated.kinds)


def placed_models(placed: Placed) -> tuple[str, ...] | None:
    """The same for a slice that the planner made: its models fit at once, but perhaps not in any order."""
    tags = dict.fromkeys(tag for demand in placed.demands for tag in demand.tags)
    if len(tags) != len(placed.seat.loads):
        return None
    return _held_on(list(tags), placed.seat.loads, [device.kind for device in placed.devices])


def _held_on(tags: Sequence[str], loads: Sequence[Load], kinds: Sequence[Kind]) -> tuple[str, ...]:
    written = list(zip(tags, loads, strict=True))
    eased = sorted(written, key=lambda row: -row[1].swing_mib)
    room = float(sum(kind.usable_mib for kind in kinds))
    return max((_held(order, room) for order in (eased, written)), key=len)


def _held(loads: Sequence[tuple[str, Load]], free: float) -> tuple[str, ...]:
    held: list[str] = []
    for tag, load in loads:
        taken = sum(load.totals)
        if held and (taken > free or load.predicted_mib > LOAD_SHARE * free):
            continue
        held.append(tag)
        free -= taken
    return tuple(held)


def with_preload(
    item: SlicePlan,
    specs: Sequence[ServerSpec],
    known: Known,
    held: tuple[str, ...] | None = None,
) -> SlicePlan:
    """`item` with what it loads by itself. `specs`: the slice as written, or the wishes on it;
    `held`: the models that it holds at once, None for all."""
    wanted = dict.fromkeys(tag for spec in specs for tag in _wanted(spec, held))
    # A list that a person wrote keeps its order; several wishes are loaded in that of `held`.
    ordered = [tag for tag in held or () if tag in wanted] if len(specs) > 1 else wanted
    models = tuple(dict.fromkeys([*ordered, *wanted]))[: most_loaded(item)]
    context = specs[0].context
    return replace(item, preload=tuple(_preloaded(tag, context, known) for tag in models))


def preload_note(item: SlicePlan, spec: ServerSpec) -> list[str]:
    """What a person should know of models that are left out."""
    loaded = [one.model for one in item.preload]
    left = [model for model in dict.fromkeys(item.models) if model not in loaded]
    if spec.preload is not True or not loaded or not left:
        return []
    return [
        f"{item.name}: loads {', '.join(loaded)} by itself, and {', '.join(left)} only when asked "
        "for, as it does not hold all of them at once; `preload: [...]` chooses"
    ]


def _wanted(spec: ServerSpec, held: tuple[str, ...] | None) -> list[str]:
    if spec.preload is False or keeps_nothing(spec.keep_alive):
        return []
    if isinstance(spec.preload, list):
        return list(map(full_model_name, spec.preload))
    names = spec.all_models if isinstance(spec, WishSpec) else spec.models
    own = list(map(full_model_name, names))
    return own if held is None else [tag for tag in held if tag in own]


def _preloaded(tag: str, context: int, known: Known) -> Preloaded:
    try:
        longest = known.model(tag.removesuffix(":latest")).max_context
    except catalogue.UnknownModel:
        return Preloaded(tag, context, None)
    return Preloaded(tag, min(context, longest), longest)
