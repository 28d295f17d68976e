"""Candidates for a task in order, each with its points, and those that are out with the reason.

Deterministic; imports this package, the catalogue and the estimates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from ollama_fleet.catalogue import KvCache, Model, all_models
from ollama_fleet.recommend import score
from ollama_fleet.recommend.room import Demand, Room, fits, kept_mib, largest, memory
from ollama_fleet.recommend.score import Points
from ollama_fleet.recommend.wish import Wish
from ollama_fleet.speed import Speed, decode_speed
from ollama_fleet.vram import Estimate, EstimateError

SHOWN_POINTS = 0.05
CACHES: tuple[KvCache, ...] = ("f16", "q8_0")


@dataclass(frozen=True)
class Place:
    """One model that serves the wish: on how many of the GPUs, how fast, and its points."""

    model: Model
    room: Room
    estimate: Estimate
    speed: Speed
    largest_context: int
    copies: int
    terms: tuple[Points, ...]

    @property
    def points(self) -> float:
        """All terms together."""
        return sum(term.points for term in self.terms)

    @property
    def kept_mib(self) -> float:
        """What the fullest GPU must have."""
        return kept_mib(self.estimate)


@dataclass(frozen=True)
class Refused:
    """A model for the task that cannot serve the wish, and why."""

    model: Model
    why: str


@dataclass(frozen=True)
class Ranking:
    """The answer to a wish, best first; `refused` are the models out of reach, the best first."""

    wish: Wish
    places: tuple[Place, ...]
    refused: tuple[Refused, ...]


def recommend(wish: Wish, candidates: Iterable[Model] | None = None) -> Ranking:
    """Rank `candidates` (default: the catalogue) for a wish."""
    named = all_models() if candidates is None else candidates
    serving = [m for m in named if wish.task in m.tasks and m.kind == "text"]
    judged = [_judge(model, wish) for model in serving]
    places = [one for one in judged if isinstance(one, Place)]
    refused = [one for one in judged if isinstance(one, Refused)]
    return Ranking(
        wish,
        tuple(sorted(places, key=_order)),
        tuple(sorted(refused, key=lambda one: (-_merit(one.model, wish), one.model.tag))),
    )


def behind(place: Place, first: Place) -> str:
    """What a place lacks against a better one: the terms in which it is behind."""
    theirs = {term.name: term for term in first.terms}
    lacks = [
        f"{term.name} {theirs[term.name].points - term.points:+.1f} "
        f"({theirs[term.name].why}, against {term.why})"
        for term in place.terms
        if theirs[term.name].points - term.points >= SHOWN_POINTS
    ]
    return f"behind {first.model.tag} by {'; '.join(lacks) or 'almost nothing'}"


def _order(place: Place) -> tuple[float, int, float, str]:
    """Points, then fewer GPUs, then speed; the tag makes it the same every time."""
    return -round(place.points, 6), place.room.gpus, -place.speed.tokens_per_s, place.model.tag


def _merit(model: Model, wish: Wish) -> float:
    terms = (
        score.size_points(model),
        score.generation_points(model),
        score.purpose_points(model, wish.task),
    )
    return sum(term.points for term in terms)


def _judge(model: Model, wish: Wish) -> Place | Refused:
    if model.max_context < wish.context:
        return Refused(model, f"holds {model.max_context} tokens at most")
    if wish.stage == "production" and model.confidence == "low":
        return Refused(model, "its dimensions are not sure enough for production")
    for room, demand in _tries(model, wish):
        try:
            answer = memory(model, demand, room)
        except EstimateError:
            continue
        if fits(answer, room):
            return _place(model, wish, room, demand, answer)
    return Refused(model, _shortage(model, wish))


def _tries(model: Model, wish: Wish) -> Iterator[tuple[Room, Demand]]:
    """Fewer GPUs first, and on each number of them the better cache first."""
    least = ceil(model.weight_bytes / 2**20 / wish.gpu.usable_mib)
    for gpus in range(max(1, least), min(wish.gpus, model.layers) + 1):
        room = Room(wish.gpu, gpus)
        for kind in CACHES if room.flash_attention else CACHES[:1]:
            yield room, Demand(wish.context, wish.parallel, kind)


def _place(model: Model, wish: Wish, room: Room, demand: Demand, answer: Estimate) -> Place:
    speed = decode_speed(model, wish.gpu, gpus=room.gpus, kv_cache=demand.kv_cache)
    most = largest(model, demand, room)
    terms = [
        score.size_points(model),
        score.generation_points(model),
        score.purpose_points(model, wish.task),
        score.speed_points(speed, wish),
        score.cache_points(demand.kv_cache),
    ]
    if wish.task == "long-documents":
        terms.append(score.context_points(most, wish))
    copies = wish.gpus // room.gpus
    return Place(model, room, answer, speed, most, copies, tuple(terms))


def _shortage(model: Model, wish: Wish) -> str:
    """How much is missing on all the GPUs with the smaller cache."""
    gpus = min(wish.gpus, model.layers)
    room = Room(wish.gpu, gpus)
    demand = Demand(wish.context, wish.parallel, CACHES[-1] if room.flash_attention else "f16")
    need = kept_mib(memory(model, demand, room))
    each = f" on each of {gpus} GPUs" if gpus > 1 else ""
    return f"needs {need:,.0f} MiB{each}, {room.usable_mib:,} usable"
