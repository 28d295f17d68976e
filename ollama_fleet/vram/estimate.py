"""Puts the terms of a runner together, on one GPU or split over several."""

from ollama_fleet.catalogue import Gpu, KvCache, Model
from ollama_fleet.vram.ask import Ask, make_ask
from ollama_fleet.vram.graph import Engine
from ollama_fleet.vram.kv import MIB, kv_mib, local_mib
from ollama_fleet.vram.parts import context_term, graph_term, whole_terms
from ollama_fleet.vram.result import Estimate, GpuShare, Term
from ollama_fleet.vram.split import LayerRange, split_layers
from ollama_fleet.vram.weights import output_mib

MARGIN_SHARE = 0.02
MARGIN_MIB = 512
# Engines before 0.31 and dies as large as an RTX 5090's miss by more (docs/decisions/memory-estimate.md).
LARGE_MARGIN_MIB = 1024


def estimate(
    model: Model,
    *,
    context: int,
    parallel: int = 1,
    kv_cache: KvCache = "f16",
    flash_attention: bool = True,
    gpus: int = 1,
    batch: int | None = None,
    gpu: Gpu | None = None,
    free_mib: float | None = None,
    engine: Engine = "current",
) -> Estimate:
    """Memory of one loaded model by component and GPU; EstimateError for what cannot be.

    + context: tokens per request
    + parallel: requests at once, each with a context of its own
    + kv_cache: f16, q8_0 or q4_0
    + gpus: equal GPUs that the layers are split over
    + batch: num_batch, if set; default: what Ollama chooses by itself
    + gpu: the card, where known, for its CUDA context and margin
    + free_mib: memory that the GPUs have free together. Ollama takes a smaller batch where it is
      tight; without it the largest batch is assumed, and the estimate only grows with its inputs
    + engine: `older` for Ollama before 0.31
    """
    ask = make_ask(
        model,
        context=context,
        parallel=parallel,
        kv_cache=kv_cache,
        flash_attention=flash_attention,
        gpus=gpus,
        batch=batch,
        gpu=gpu,
        free_mib=free_mib,
        engine=engine,
    )
    whole = whole_terms(ask)
    ranges = split_layers(model.layers, gpus)
    return Estimate(
        model=model.tag,
        context=context,
        parallel=ask.parallel,
        kv_cache=kv_cache,
        flash_attention=flash_attention,
        batch=ask.batch,
        whole=whole,
        per_gpu=tuple(_share(ask, whole, index, part) for index, part in enumerate(ranges)),
        notes=ask.notes,
    )


def _share(ask: Ask, whole: tuple[Term, ...], index: int, part: LayerRange) -> GpuShare:
    here = {
        "weights": _weights_share(ask.model, part),
        "kv_cache": _kv_share(ask, part),
        "recurrent_state": part.share(ask.model.recurrent.layers if ask.model.recurrent else 0),
        "projector": 1.0 if index == 0 else 0.0,
        "draft": 1.0 if part.last else 0.0,
    }
    shared = [
        Term(term.name, term.mib * here[term.name], term.formula if ask.gpus == 1 else str(part))
        for term in whole
        if here.get(term.name)
    ]
    terms = (*shared, graph_term(ask), context_term(ask))
    return GpuShare(index, terms, _margin(ask, sum(term.mib for term in terms)))


def _weights_share(model: Model, part: LayerRange) -> float:
    """Layers are equal; the output layer is on the last GPU."""
    output = output_mib(model) / (model.weight_bytes / MIB) if model.weight_bytes else 0.0
    layers = (part.end - part.start) / part.layers
    return (1 - output) * layers + (output if part.last else 0.0)


def _kv_share(ask: Ask, part: LayerRange) -> float:
    """Caches go with their layers; each kind of layer is taken to be evenly spread."""
    model, local = ask.model, 0.0
    total = kv_mib(model, ask.context, ask.parallel, ask.kv_cache, ask.batch)
    if model.local and total:
        local = local_mib(model.local, ask.context, ask.parallel, ask.kv_cache, ask.batch) / total
    whole = part.share(model.full.layers if model.full else model.layers)
    return (1 - local) * whole + local * part.share(model.local.layers if model.local else 0)


def _margin(ask: Ask, total_mib: float) -> Term:
    large = ask.engine == "older" or (ask.gpu is not None and ask.gpu.large_die)
    fixed = LARGE_MARGIN_MIB if large else MARGIN_MIB
    return Term(
        "margin", MARGIN_SHARE * total_mib + fixed, f"{MARGIN_SHARE:.0%} + {fixed} MiB per GPU"
    )
