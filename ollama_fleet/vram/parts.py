"""The terms of a whole model with their arithmetic in words and numbers."""

from ollama_fleet.catalogue import ELEMENT_BYTES, Cache, Model
from ollama_fleet.catalogue.gpu import CUDA_CONTEXT_MIB
from ollama_fleet.vram import graph, kv, weights
from ollama_fleet.vram.ask import Ask
from ollama_fleet.vram.result import Term


def whole_terms(ask: Ask) -> tuple[Term, ...]:
    """What a model takes however it is split, and what each GPU adds to it."""
    terms = (
        _weights(ask.model),
        _kv(ask),
        _recurrent(ask),
        _projector(ask.model),
        _draft(ask),
        graph_term(ask),
        context_term(ask),
    )
    return tuple(term for term in terms if term.mib)


def _weights(model: Model) -> Term:
    where = {"file": "the file's layers", "log": "a load log", "guess": "parameters × bits"}
    beside = "with the shared token table" if model.tied else "token table in host memory"
    formula = f"{model.quantisation} weights by {where[model.weight_source]}, {beside}"
    return Term("weights", weights.weights_mib(model), formula)


def _kv(ask: Ask) -> Term:
    each = f"{ELEMENT_BYTES[ask.kv_cache]:g} B ({ask.kv_cache})"
    held = f"{ask.parallel} × {{}} cells × {each}"
    parts = []
    if ask.model.mla_width:
        latent = f"{ask.model.layers} layers × {ask.model.mla_width} latent elements"
        parts.append(f"{latent} × {held.format(kv.cells(ask.context))}")
    if ask.model.full:
        parts.append(f"{_shape(ask.model.full)} × {held.format(kv.cells(ask.context))}")
    if ask.model.local:
        cells = kv.local_cells(ask.model.local, ask.context, ask.batch)
        window = f"{_shape(ask.model.local)} × {held.format(cells)}"
        parts.append(f"{window} (window {ask.model.local.window} + batch {ask.batch})")
    mib = kv.kv_mib(ask.model, ask.context, ask.parallel, ask.kv_cache, ask.batch)
    return Term("kv_cache", mib, " + ".join(parts))


def _shape(cache: Cache) -> str:
    key, value = cache.key_length, cache.value_length
    return f"{cache.layers} layers × {cache.kv_heads} KV heads × ({key} + {value})"


def _recurrent(ask: Ask) -> Term:
    state = ask.model.recurrent
    mib = kv.recurrent_mib(ask.model, ask.parallel)
    if not state:
        return Term("recurrent_state", mib, "")
    each = state.bytes_per_sequence / kv.MIB
    formula = f"{state.layers} recurrent layers, {each:.2f} MiB × {ask.parallel} sequences"
    if ask.model.draft_tokens:
        formula += f" × (1 + {ask.model.draft_tokens} drafted tokens)"
    return Term("recurrent_state", mib, formula)


def _projector(model: Model) -> Term:
    file = model.projector_bytes / kv.MIB
    formula = f"{file:.0f} MiB of the file + {weights.PROJECTOR_GRAPH_MIB} MiB graph"
    return Term("projector", weights.projector_mib(model), formula)


def _draft(ask: Ask) -> Term:
    mib = weights.draft_mib(ask.model, ask.context, ask.parallel, ask.kv_cache, graph_term(ask).mib)
    formula = f"one more layer + its cache + {weights.DRAFT_GRAPH_SHARE} × graph"
    return Term("draft", mib, formula)


def graph_term(ask: Ask) -> Term:
    """The graph of one GPU; on several, with the copies of a pipeline."""
    mib = graph.graph_mib(ask.model, ask.context, ask.batch, ask.flash_attention, ask.engine)
    how = (
        "flash attention" if ask.flash_attention else "scores of all heads without flash attention"
    )
    formula = f"activations of a batch of {ask.batch}, {how}, {kv.cells(ask.context)} cells"
    if ask.gpus > 1:
        mib += graph.pipeline_mib(ask.model, ask.context, ask.batch)
        formula += f", 4 copies of the inputs, on each of {ask.gpus} GPUs"
    return Term("graph", mib, formula)


def context_term(ask: Ask) -> Term:
    """The CUDA context of one GPU."""
    each = ask.gpu.cuda_context_mib if ask.gpu else CUDA_CONTEXT_MIB
    formula = f"{each} MiB per process and GPU, measured"
    return Term("cuda_context", float(each), formula)
