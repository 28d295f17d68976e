"""Memory of what comes from the file: weights, projector, draft layer; imports the catalogue only."""

from ollama_fleet.catalogue import KvCache, Model
from ollama_fleet.vram.kv import MIB, full_mib

# Graph of the vision part: 60–275 MiB seen in load logs, the upper end taken.
PROJECTOR_GRAPH_MIB = 256
# Graph of a draft layer against the model's own.
DRAFT_GRAPH_SHARE = 0.45
# Bytes per element of the output layer, which quantisers keep finer than the rest (q6_K).
OUTPUT_BYTES = {"F32": 4.0, "F16": 2.0, "BF16": 2.0, "MXFP4": 2.0, "Q8_0": 34 / 32}
Q6_K = 210 / 256


def weights_mib(model: Model) -> float:
    """Weights on the GPU when all layers are there: the token table stays in host memory unless the
    output shares it, per-layer embeddings (gemma3n, gemma4:e2b/e4b) stay there always.

    Source: model buffer lines of load logs; 109 files whose dimensions reproduce their bytes.
    """
    return model.weight_bytes / MIB


def output_mib(model: Model) -> float:
    """The output layer, which lies on the last GPU: V × E × bytes per element."""
    each = OUTPUT_BYTES.get(model.quantisation.upper(), Q6_K)
    return min(model.vocab * model.embedding * each, model.weight_bytes / 2) / MIB


def projector_mib(model: Model) -> float:
    """The vision part of the file and its graph; loaded whether or not a picture ever comes."""
    if not model.projector_bytes:
        return 0.0
    return model.projector_bytes / MIB + PROJECTOR_GRAPH_MIB


def draft_mib(model: Model, context: int, parallel: int, kind: KvCache, graph_mib: float) -> float:
    """The built-in draft layer (MTP): the cache of one more layer and 0.45 of the graph.

    Source: load reports of qwen3.8:27b. Its weights are counted as one more layer of the model, our inference
    from the file being larger than that of the same model without it.
    """
    if not (model.draft_tokens and model.full):
        return 0.0
    one_layer = full_mib(model.full, context, parallel, kind) / model.full.layers
    return one_layer + DRAFT_GRAPH_SHARE * graph_mib + weights_mib(model) / model.layers
