"""The batch that Ollama chooses when nobody sets `num_batch`; imports the catalogue only.

It matters because the graph grows with it: the same model at 8192 tokens can need more graph memory
than at 32768, where the scheduler saw little room and took a smaller batch.
"""

from ollama_fleet.catalogue import Model
from ollama_fleet.vram.kv import MIB

SMALLEST, DEFAULT, MEDIUM, LARGE = 256, 512, 1024, 2048
SURCHARGE_MIB = {DEFAULT: 0, MEDIUM: 768, LARGE: 2048}
HEADROOM = {MEDIUM: 0.75, LARGE: 0.60}
MOST = 0.80
SMALL_CARD_MIB = 8192


def automatic_batch(
    model: Model, context: int, parallel: int, flash_attention: bool, free_mib: float | None
) -> int:
    """Batch for a load on GPUs with `free_mib` free together; None: the most it can be.

    Source: automaticGenerationBatch in Ollama's server/sched.go (2026-08): 512 up to 4096 tokens,
    1024 up to 32768, then 2048; a step down unless the prediction leaves headroom.
    """
    if model.kind == "embedding":
        return min(LARGE, context)
    tokens = context * parallel
    if not flash_attention:
        small = free_mib is not None and free_mib <= SMALL_CARD_MIB
        return SMALLEST if small and tokens > 4096 else DEFAULT
    batch = LARGE if tokens > 32768 else MEDIUM if tokens > 4096 else DEFAULT
    while batch > DEFAULT and not _fits(batch, predicted_mib(model, tokens), free_mib):
        batch //= 2
    return batch


def predicted_mib(model: Model, tokens: int) -> float:
    """What Ollama's scheduler expects of a load: file + 2 × layers × KV heads × E/H × tokens × 2 B.

    Source: PredictServerVRAM in llm/llama_server.go. It knows no sliding window, no latent and no
    cache type, so it is no estimate; it decides placement, eviction and the batch.
    """
    kv_heads = min((c.kv_heads for c in (model.full, model.local) if c), default=1)
    head_dim = model.embedding // model.heads
    return (model.file_bytes + 4 * model.layers * kv_heads * head_dim * tokens) / MIB


def _fits(batch: int, predicted: float, free_mib: float | None) -> bool:
    if free_mib is None:
        return True
    headroom = predicted <= free_mib * HEADROOM[batch]
    return headroom and predicted + SURCHARGE_MIB[batch] <= free_mib * MOST
