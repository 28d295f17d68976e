"""Memory of the compute graph on one GPU; one formula per function, imports the catalogue only.

E embedding length, F feed-forward width in use, V vocabulary, H heads, n cells per sequence, all
activations in f32 (4 bytes), masks in f16 (2 bytes).
"""

from typing import Literal

from ollama_fleet.catalogue import Model
from ollama_fleet.vram.kv import MIB, cells, local_cells

# current: Ollama from 0.31 on (llama-server that keeps logits of the last tokens only).
# older: Ollama 0.13–0.30 and llama.cpp of that time, with logits for a whole batch.
Engine = Literal["current", "older"]

# Gate, up and their product live at once; a plain activation runs in place and needs one.
PLAIN_FFN = frozenset({"bert", "nomic-bert-moe", "phi2", "starcoder2", "nemotron_h"})
# Tensors of width E alive at the widest point, by architecture; 3 for all others.
WIDE_4 = frozenset({"qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe"})
WIDE_2 = frozenset({"qwen35", "qwen35moe", "qwen3next"})


def graph_mib(
    model: Model, context: int, batch: int, flash_attention: bool, engine: Engine = "current"
) -> float:
    """The graph of one runner on one GPU."""
    if not flash_attention:
        return without_flash_mib(model, context, batch)
    if engine == "older":
        return older_mib(model, context, batch)
    return activations_mib(model, batch) + masks_mib(model, context, batch)


def activations_mib(model: Model, batch: int) -> float:
    """4 × batch × (3 F + k E): the feed-forward part is the widest point of a layer.

    Source: load logs of llama.cpp from b11258 on and /api/ps of Ollama 0.31–0.34,
    met to the MiB on eight models. One F for feed-forwards without a gate: ggml runs a plain
    activation in place (ggml-alloc.c lists unary operations, not the gated ones).
    """
    wide = 4 if model.architecture in WIDE_4 else 2 if model.architecture in WIDE_2 else 3
    gated = 1 if model.architecture in PLAIN_FFN else 3
    return 4 * batch * (gated * model.active_ffn + wide * model.embedding) / MIB


def masks_mib(model: Model, context: int, batch: int) -> float:
    """2 × batch × n, and the same for the cells of a sliding window.

    Source: f16 masks of flash attention; a bidirectional embedder's mask is batch × batch.
    """
    if not (model.full or model.local or model.mla_width):
        return 2 * batch * batch / MIB
    local = local_cells(model.local, context, batch) if model.local else 0
    return 2 * batch * (cells(context) + local) / MIB


def older_mib(model: Model, context: int, batch: int) -> float:
    """max(4 × batch × (V + E), activations + 6 × batch × n), full logits.

    Source: load logs of llama.cpp up to mid-2026 (300.75 MiB for 151936 + 2048 at batch 512).
    """
    logits = 4 * batch * (model.vocab + model.embedding) / MIB
    return max(logits, activations_mib(model, batch) + 6 * batch * cells(context) / MIB)


def without_flash_mib(model: Model, context: int, batch: int) -> float:
    """max(4 × batch × (n (H + 1) + 4 E), 4 × batch × (V + E)): scores of all heads in f32.

    Source: load logs without flash attention (164 MiB for Llama 2 7B at 2048).
    """
    scores = cells(context) * (model.heads + 1) + 4 * model.embedding
    return 4 * batch * max(scores, model.vocab + model.embedding) / MIB


def pipeline_mib(model: Model, context: int, batch: int) -> float:
    """3 × (2 × batch × n + 4 × batch × E) more on every GPU of a split model.

    Source: llama.cpp's pipeline parallelism keeps four copies of the inputs
    (predicted 409 MiB for two GPUs, measured 368 and 445).
    """
    return 3 * (2 * batch * cells(context) + 4 * batch * model.embedding) / MIB
