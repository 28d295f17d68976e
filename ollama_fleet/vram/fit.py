"""The reverse of an estimate: the largest context that fits into given memory."""

from ollama_fleet.catalogue import Gpu, KvCache, Model
from ollama_fleet.vram.estimate import estimate
from ollama_fleet.vram.graph import Engine
from ollama_fleet.vram.kv import CELL_BLOCK


def largest_context(
    model: Model,
    available_mib: float,
    *,
    parallel: int = 1,
    kv_cache: KvCache = "f16",
    flash_attention: bool = True,
    gpus: int = 1,
    batch: int | None = None,
    gpu: Gpu | None = None,
    engine: Engine = "current",
) -> int:
    """Most tokens per request that fit with the safety margin into `available_mib` on each GPU.

    A multiple of 256 or the model's own maximum; 0 where not even 256 tokens fit.
    """

    def fits(context: int) -> bool:
        answer = estimate(
            model,
            context=context,
            parallel=parallel,
            kv_cache=kv_cache,
            flash_attention=flash_attention,
            gpus=gpus,
            batch=batch,
            gpu=gpu,
            free_mib=available_mib * gpus,
            engine=engine,
        )
        return answer.needed_per_gpu_mib <= available_mib

    if fits(model.max_context):
        return model.max_context
    fitting, too_large = 0, -(-model.max_context // CELL_BLOCK)
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        if fits(middle * CELL_BLOCK):
            fitting = middle
        else:
            too_large = middle
    return fitting * CELL_BLOCK
