"""Memory of the KV cache and of recurrent states; imports the catalogue only.

Cells are whole blocks of 256 tokens per sequence, and each sequence has its own. These figures meet
the buffer lines of real load logs exactly.
"""

from ollama_fleet.catalogue import ELEMENT_BYTES, Cache, KvCache, Model

MIB = 2**20
CELL_BLOCK = 256


def cells(tokens: int) -> int:
    """Cells that so many tokens of one sequence take: the next multiple of 256.

    Source: llama.cpp pads n_ctx and the cache to 256.
    """
    return -(-tokens // CELL_BLOCK) * CELL_BLOCK


def local_cells(cache: Cache, context: int, batch: int) -> int:
    """Cells of a sliding-window layer per sequence: the window and one batch, never more.

    Source: llama.cpp's iswa cache, ceil256(min(n_ctx, window + n_ubatch)).
    """
    return cells(min(context, (cache.window or context) + batch))


def full_mib(cache: Cache, context: int, parallel: int, kind: KvCache) -> float:
    """Layers that attend to everything: layers × KV heads × (key + value) × cells × bytes.

    Source: load logs, for example 48 layers × 4 × 256 × 65536 × 2 B = 6144 MiB.
    """
    return cache.elements_per_cell * cells(context) * parallel * ELEMENT_BYTES[kind] / MIB


def local_mib(cache: Cache, context: int, parallel: int, kind: KvCache, batch: int) -> float:
    """Sliding-window layers, the same with the window's cells."""
    held = local_cells(cache, context, batch) * parallel
    return cache.elements_per_cell * held * ELEMENT_BYTES[kind] / MIB


def mla_mib(model: Model, context: int, parallel: int, kind: KvCache) -> float:
    """Absorbed multi-head latent attention: one latent of 576 elements per token and layer.

    Source: llama.cpp's MLA cache, 61 × 576 × 32768 × 2 B (2196 MiB for DeepSeek V3.1). Files that
    keep `attn_kv_b` do not have it: the library's deepseek-r1:671b caches per head (`full`).
    """
    held = model.layers * model.mla_width * cells(context) * parallel
    return held * ELEMENT_BYTES[kind] / MIB


def recurrent_mib(model: Model, parallel: int) -> float:
    """States of the recurrent layers, f32, once per sequence and drafted token.

    Source: log_rs_buffer lines, 149.62 MiB × 4 sequences = 598.5; × (1 + 4 drafts) = 748.1.
    """
    if not model.recurrent:
        return 0.0
    return model.recurrent.bytes_per_sequence * parallel * (1 + model.draft_tokens) / MIB


def kv_mib(model: Model, context: int, parallel: int, kind: KvCache, batch: int) -> float:
    """The whole KV cache of a model: full, sliding-window and latent layers together."""
    total = mla_mib(model, context, parallel, kind) if model.mla_width else 0.0
    if model.full:
        total += full_mib(model.full, context, parallel, kind)
    if model.local:
        total += local_mib(model.local, context, parallel, kind, batch)
    return total
