"""The nearest thing that fits where a wish does not: less context, a smaller cache or model, more GPUs.

Pure; every proposal is held against the same arithmetic before it is made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, get_args

from ollama_fleet import catalogue
from ollama_fleet.planner.devices import Kind
from ollama_fleet.planner.needs import Settings
from ollama_fleet.spec.known import Known, full_model_name
from ollama_fleet.vram import KvCache


class Fitting(Protocol):
    """What decides whether models stay loaded on GPUs: by the rules of wishes, or of a written slice."""

    known: Known

    def fits(self, tags: Sequence[str], settings: Settings, kind: Kind, gpus: int = 1) -> bool: ...


CONTEXT_STEP = 256
SMALLEST_CONTEXT = 2048  # less is of no use to a conversation
MOST_GPUS = 16


def nearest(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> tuple[str, ...]:
    """Changes that make models fit on `gpus` GPUs of a kind, the smallest change first."""
    tags = tuple(dict.fromkeys(tags))
    try:
        for tag in tags:
            needs.known.model(tag)
    except catalogue.UnknownModel:
        return ()
    found = (
        *_smaller_cache(tags, settings, kind, gpus, needs),
        *_shorter_context(tags, settings, kind, gpus, needs),
        *_smaller_model(tags, settings, kind, gpus, needs),
        *_more_gpus(tags, settings, kind, gpus, needs),
        *_fewer_models(tags, settings, kind, gpus, needs),
    )
    return found


def _shorter_context(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> Iterator[str]:
    if most := longest_context(tags, settings, kind, gpus, needs):
        yield f"`context: {most}`"


def longest_context(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> int:
    """The most tokens with which all of them fit, below the wished; 0 where none is of use."""
    if settings.context <= SMALLEST_CONTEXT:
        return 0
    low, high = SMALLEST_CONTEXT // CONTEXT_STEP - 1, -(-settings.context // CONTEXT_STEP)
    while high - low > 1:
        middle = (low + high) // 2
        fewer = replace(settings, context=middle * CONTEXT_STEP)
        low, high = (middle, high) if needs.fits(tags, fewer, kind, gpus) else (low, middle)
    return low * CONTEXT_STEP if low * CONTEXT_STEP >= SMALLEST_CONTEXT else 0


def _smaller_cache(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> Iterator[str]:
    kinds: tuple[KvCache, ...] = get_args(KvCache)
    for cache in kinds[kinds.index(settings.kv_cache) + 1 :]:
        less = replace(settings, kv_cache=cache)
        if needs.fits(tags, less, kind, gpus):
            yield f"`kv_cache: {cache}`"
            return


def _smaller_model(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> Iterator[str]:
    """The largest of the same family in place of the largest model that fits."""
    large = max((needs.known.model(tag) for tag in tags), key=lambda model: model.file_bytes)
    others = tuple(tag for tag in tags if needs.known.model(tag) is not large)
    for smaller in _family(large):
        if smaller.max_context < min(settings.context, large.max_context):
            continue  # the inventory would refuse that context of it
        if needs.fits((*others, smaller.tag), settings, kind, gpus):
            yield f"{smaller.tag} in place of {large.tag}"
            return


def _family(model: catalogue.Model) -> list[catalogue.Model]:
    """Smaller models of the same family, the largest first."""
    family = model.tag.partition(":")[0]
    alike = [
        other
        for other in catalogue.all_models()
        if other.tag.partition(":")[0] == family and other.file_bytes < model.file_bytes
    ]
    return sorted(alike, key=lambda other: (-other.file_bytes, other.tag))


def _more_gpus(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> Iterator[str]:
    if kind.profile:
        return
    for more in range(gpus + 1, MOST_GPUS + 1):
        if needs.fits(tags, settings, kind, more):
            yield f"{more} × {kind.name}"
            return


def _fewer_models(
    tags: Sequence[str], settings: Settings, kind: Kind, gpus: int, needs: Fitting
) -> Iterator[str]:
    """The most models of the list, in its order, that fit together."""
    kept: list[str] = []
    for tag in map(full_model_name, tags):
        if needs.fits((*kept, tag), settings, kind, gpus):
            kept.append(tag)
    if kept and len(tags) > 1:
        yield f"`models: [{', '.join(kept)}]`, the others elsewhere"
