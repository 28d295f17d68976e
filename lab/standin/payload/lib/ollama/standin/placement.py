"""Where a model goes: how much memory it takes, on which GPUs, and how fast it is there.

Arithmetic only: it is given the GPUs and opens nothing.
"""

from dataclasses import dataclass

from .devices import Gpu
from .model import Model

MIB = 1 << 20
KV_FACTOR = {"f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}
COMPUTE_MIB = 300
CUDA_CONTEXT_MIB = 305
FIT_MARGIN_MIB = 1024
SINGLE_GPU_SHARE = 0.8  # a model goes to one GPU when it is predicted to take at most this of it
DECODE_EFFICIENCY = 0.6
CPU_BANDWIDTH_GB_S = 40
MAX_TOKENS_PER_S = 300.0
MAX_CPU_TOKENS_PER_S = 6.0
MIN_TOKENS_PER_S = 0.5
LOAD_BYTES_PER_S = 20e9
MAX_LOAD_S = 2.0
CONTEXT_TIERS_MIB = ((47 * 1024, 262_144), (23 * 1024, 32_768), (0, 4096))


@dataclass(frozen=True)
class Placement:
    size_bytes: int
    size_vram_bytes: int
    mib_by_uuid: dict[str, int]
    nodes: tuple[str, ...]
    layers_on_gpu: int
    load_s: float
    tokens_per_s: float

    @property
    def is_on_gpu(self) -> bool:
        return bool(self.mib_by_uuid)


def default_context(gpus: list[Gpu]) -> int:
    """The real server's choice without OLLAMA_CONTEXT_LENGTH: by the memory of all its GPUs."""
    total_mib = sum(gpu.total_mib for gpu in gpus)
    return next(context for floor_mib, context in CONTEXT_TIERS_MIB if total_mib >= floor_mib)


def size_mib(model: Model, cells: int, kv_type: str) -> int:
    kv_bytes = cells * model.kv_bytes_per_token * KV_FACTOR[kv_type]
    return COMPUTE_MIB + int((model.weight_bytes + kv_bytes) / MIB)


def predicted_mib(model: Model, cells: int) -> int:
    """What the scheduler expects: it never knows that the cache is quantised."""
    return size_mib(model, cells, "f16")


def best_group(gpus: list[Gpu]) -> list[Gpu]:
    """The GPUs of one library: those with more free memory together, as the real one prefers."""
    groups = [[gpu for gpu in gpus if gpu.library == library] for library in ("CUDA", "Vulkan")]
    return max(groups, key=lambda group: sum(gpu.free_mib for gpu in group))


def place(model: Model, gpus: list[Gpu], cells: int, kv_type: str) -> Placement:
    group = best_group(gpus)
    need_mib = size_mib(model, cells, kv_type)
    single = _fits_one(group, predicted_mib(model, cells))
    shares = _shares([single] if single else group, need_mib)
    used = [gpu for gpu in group if gpu.uuid in shares]
    fraction = min(1.0, sum(shares.values()) / need_mib)
    return Placement(
        size_bytes=need_mib * MIB,
        size_vram_bytes=sum(shares.values()) * MIB,
        mib_by_uuid={uuid: mib + CUDA_CONTEXT_MIB for uuid, mib in shares.items()},
        nodes=tuple(dict.fromkeys(node for gpu in used for node in gpu.nodes)),
        layers_on_gpu=int((model.layers + 1) * fraction),
        load_s=min(MAX_LOAD_S, model.weight_bytes / LOAD_BYTES_PER_S),
        tokens_per_s=_speed(model, used, fraction),
    )


def on_cpu(model: Model, placement: Placement) -> Placement:
    """The same model after the driver refused: everything answers, slowly."""
    return Placement(placement.size_bytes, 0, {}, (), 0, placement.load_s, _speed(model, [], 0.0))


def _fits_one(group: list[Gpu], predicted: int) -> Gpu | None:
    roomiest = max(group, key=lambda gpu: gpu.free_mib, default=None)
    if roomiest and predicted <= SINGLE_GPU_SHARE * roomiest.free_mib:
        return roomiest
    return None


def _shares(group: list[Gpu], need_mib: int) -> dict[str, int]:
    """Memory per GPU in proportion to what is free; what does not fit stays on the CPU."""
    room = {gpu.uuid: gpu.free_mib - FIT_MARGIN_MIB - CUDA_CONTEXT_MIB for gpu in group}
    room = {uuid: mib for uuid, mib in room.items() if mib > 0}
    total_mib = sum(room.values())
    taken_mib = min(need_mib, total_mib)
    shares = {uuid: mib * taken_mib // total_mib for uuid, mib in room.items()}
    if shares:
        first = next(iter(shares))
        shares[first] += taken_mib - sum(shares.values())
    return shares


def _speed(model: Model, used: list[Gpu], fraction: float) -> float:
    """Tokens per second: memory bandwidth over the bytes that one token reads."""
    weight_gb = max(model.active_weight_bytes / 1e9, 1e-3)
    cpu = min(MAX_CPU_TOKENS_PER_S, CPU_BANDWIDTH_GB_S * DECODE_EFFICIENCY / weight_gb)
    if not used:
        return max(MIN_TOKENS_PER_S, cpu)
    bandwidth_gb_s = sum(gpu.bandwidth_gb_s for gpu in used) / len(used)
    gpu = min(MAX_TOKENS_PER_S, bandwidth_gb_s * DECODE_EFFICIENCY / weight_gb)
    return max(MIN_TOKENS_PER_S, 1 / (fraction / gpu + (1 - fraction) / cpu))
