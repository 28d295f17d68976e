"""Points of a model for a task: terms that add up, one function each, with their reasons.

One point is one doubling of a model's size. The weights are judgement, written down here and in
docs/decisions/ranking.md; no benchmark figure is in them. Imports the estimates' values only.
"""

from dataclasses import dataclass
from math import log2, sqrt

from ollama_fleet.catalogue import KvCache, Model
from ollama_fleet.recommend.families import generation, release_month
from ollama_fleet.recommend.wish import Task, Wish
from ollama_fleet.speed import Speed

# A model of half a year later is as good as one twice its size: between the 3.3 months of the
# densing law (Xiao et al. 2024, on benchmarks) and a year of everyday use.
POINTS_PER_HALF_YEAR = 1.0
# A model made for the task against one that can do it too, and against one made for another.
MADE_FOR_IT, MADE_FOR_ANOTHER = 1.0, -1.0
# Each halving below the comfortable speed outweighs two doublings of size.
POINTS_PER_HALVING = -2.0
# Each doubling of the context that fits beyond the one asked for, in long documents.
POINTS_PER_CONTEXT = 0.5
# Recall suffers a little from a compressed cache (22 of 30 to 20 of 30 at q4_0, none at q8_0).
CACHE_POINTS: dict[KvCache, float] = {"f16": 0.0, "q8_0": -0.25, "q4_0": -1.0}
# What a model can be made for; the other tags say what it can do besides.
PURPOSES = frozenset({"code", "reasoning", "translation", "vision"})


@dataclass(frozen=True)
class Points:
    """One term of a score and why."""

    name: str
    points: float
    why: str


def effective_params_b(model: Model) -> float:
    """Size that a mixture of experts counts for: √(total × active); a dense model's own."""
    return sqrt(model.params_b * model.active_params_b) if model.mixture else model.params_b


def size_points(model: Model) -> Points:
    """log2 of the effective size in thousand millions."""
    effective = effective_params_b(model)
    points = log2(max(effective, 0.01))
    if not model.mixture:
        return Points("size", points, f"{model.params_b:.1f}B")
    sizes = f"√({model.params_b:.1f}B × {model.active_params_b:.1f}B active)"
    return Points("size", points, f"{sizes} = {effective:.1f}B")


def generation_points(model: Model) -> Points:
    """One point per half-year since 2023."""
    month = release_month(model)
    why = f"about {month}" if month else "of no known family, taken for early 2025"
    return Points("generation", POINTS_PER_HALF_YEAR * generation(model), why)


def purpose(model: Model) -> str | None:
    """The one thing that it is made for; None for a generalist."""
    if "chat" in model.tasks:
        return None
    made_for = PURPOSES & model.tasks
    without_vision = made_for - {"vision"} or made_for
    return next(iter(without_vision)) if len(without_vision) == 1 else None


def purpose_points(model: Model, task: Task) -> Points:
    """For or against specialists."""
    made_for = purpose(model)
    if made_for is None:
        return Points("purpose", 0.0, f"a generalist that is good at {task}")
    name = "pictures" if made_for == "vision" else made_for
    points = MADE_FOR_IT if made_for == task else MADE_FOR_ANOTHER
    return Points("purpose", points, f"made for {name}")


def speed_points(speed: Speed, wish: Wish) -> Points:
    """Against everything slower than comfortable."""
    comfortable = wish.preference.comfortable_tokens_per_s
    halvings = max(0.0, log2(comfortable / speed.tokens_per_s))
    why = f"about {speed.tokens_per_s:.0f} tokens/s, {speed.marks} marks of 5"
    return Points("speed", POINTS_PER_HALVING * halvings, why)


def cache_points(kv_cache: KvCache) -> Points:
    """Against a compressed cache."""
    why = "full precision" if kv_cache == "f16" else f"fits with a {kv_cache} cache only"
    return Points("cache", CACHE_POINTS[kv_cache], why)


def context_points(largest: int, wish: Wish) -> Points:
    """For what is left to longer documents."""
    doublings = log2(max(largest, 1) / wish.context)
    return Points("context", POINTS_PER_CONTEXT * doublings, f"{largest} tokens fit")
