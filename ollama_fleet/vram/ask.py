"""What an estimate is asked for, checked and brought to what Ollama makes of it."""

from dataclasses import dataclass

from ollama_fleet.catalogue import ELEMENT_BYTES, Gpu, KvCache, Model
from ollama_fleet.vram.batch import automatic_batch
from ollama_fleet.vram.graph import Engine

MOST_PARALLEL = 1024
MOST_GPUS = 64


class EstimateError(ValueError):
    """No estimate for such a request; says what is possible instead."""


@dataclass(frozen=True)
class Ask:
    """A checked request; `parallel` and `batch` as Ollama will use them."""

    model: Model
    context: int
    parallel: int
    kv_cache: KvCache
    flash_attention: bool
    gpus: int
    batch: int
    gpu: Gpu | None
    engine: Engine
    notes: tuple[str, ...]


def make_ask(
    model: Model,
    *,
    context: int,
    parallel: int,
    kv_cache: KvCache,
    flash_attention: bool,
    gpus: int,
    batch: int | None,
    gpu: Gpu | None,
    free_mib: float | None,
    engine: Engine,
) -> Ask:
    """Checks a request; `free_mib` is what the GPUs have free together."""
    _check(model, context, parallel, kv_cache, flash_attention, gpus, batch)
    served = min(parallel, model.parallel_limit or parallel)
    notes = () if served == parallel else (_one_request(model),)
    if batch is None and engine == "older":
        batch = 512
    if batch is None:
        batch = automatic_batch(model, context, served, flash_attention, free_mib)
    return Ask(model, context, served, kv_cache, flash_attention, gpus, batch, gpu, engine, notes)


def _one_request(model: Model) -> str:
    return f"note: Ollama serves {model.architecture} models one request at a time (parallel 1)"


def _check(
    model: Model,
    context: int,
    parallel: int,
    kv_cache: str,
    flash_attention: bool,
    gpus: int,
    batch: int | None,
) -> None:
    if not 1 <= context <= model.max_context:
        raise EstimateError(
            f"{model.tag} has a context of 1 to {model.max_context} tokens, not {context}"
        )
    if not 1 <= parallel <= MOST_PARALLEL:
        raise EstimateError(f"parallel is 1 to {MOST_PARALLEL}, not {parallel}")
    if kv_cache not in ELEMENT_BYTES:
        raise EstimateError(f"kv_cache is one of {', '.join(ELEMENT_BYTES)}, not {kv_cache}")
    if kv_cache != "f16" and not flash_attention:
        raise EstimateError(f"a {kv_cache} KV cache needs flash attention: turn it on, or use f16")
    if not 1 <= gpus <= min(MOST_GPUS, model.layers):
        most = min(MOST_GPUS, model.layers)
        raise EstimateError(f"{model.tag} can be split over 1 to {most} GPUs, not {gpus}")
    if batch is not None and not 1 <= batch <= 2**16:
        raise EstimateError(f"batch is 1 to {2**16} tokens, not {batch}")
