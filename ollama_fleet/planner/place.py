"""`HostSpec` to `HostPlan`: which port each slice gets and what its server is told."""

from collections.abc import Iterable
from itertools import count

from ollama_fleet.planner.plan import (
    CUDA_CACHE_DIR,
    HOME_DIR,
    MODELS_DIR,
    HostPlan,
    SlicePlan,
)
from ollama_fleet.spec import FIRST_SLICE_PORT, HostSpec, SliceSpec
from ollama_fleet.spec_rules import LOADER_PORT

# What every slice is told, whatever it serves. VULKAN off: from 0.30 on it would bring hidden GPUs
# back. NOPRUNE: a starting slice must not delete what another is pulling into the shared store.
COMMON_ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_CACHE_PATH": CUDA_CACHE_DIR,
    "HOME": HOME_DIR,
    "OLLAMA_MODELS": MODELS_DIR,
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_NO_CLOUD": "1",
    "OLLAMA_VULKAN": "0",
}


def plan_host(name: str, spec: HostSpec) -> HostPlan:
    """Plan one host. Deterministic: the same spec gives the same plan."""
    ports = _ports(spec.slices)
    return HostPlan(
        host=name,
        expected_gpus=_expected_gpus(spec),
        slices=tuple(_slice(item, ports[item.name]) for item in spec.slices),
        extra_models=tuple(map(full_model_name, spec.models.extra)),
        loader_port=LOADER_PORT,
    )


def full_model_name(model: str) -> str:
    """`qwen3` → `qwen3:latest`, as Ollama stores it."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _expected_gpus(spec: HostSpec) -> tuple[tuple[str, int], ...] | None:
    if spec.gpus is None:
        return None
    return tuple((gpu.model, gpu.count) for gpu in spec.gpus)


def _ports(slices: Iterable[SliceSpec]) -> dict[str, int]:
    """Written ports stay; the others follow from the first GPU, so that no neighbour moves them."""
    items = list(slices)
    ports = {item.name: item.port for item in items if item.port is not None}
    for item in items:
        if item.name not in ports:
            wanted = FIRST_SLICE_PORT + min((g for g in item.gpus if isinstance(g, int)), default=0)
            ports[item.name] = next(p for p in count(wanted) if p not in ports.values())
    return ports


def _slice(spec: SliceSpec, port: int) -> SlicePlan:
    return SlicePlan(
        name=spec.name,
        gpus=tuple(spec.gpus),
        port=port,
        models=tuple(map(full_model_name, spec.models)),
        environment=_environment(spec, port),
        env_file=spec.env_file,
    )


def _environment(spec: SliceSpec, port: int) -> dict[str, str]:
    wanted = {
        **COMMON_ENVIRONMENT,
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_CONTEXT_LENGTH": str(spec.context),
        "OLLAMA_NUM_PARALLEL": str(spec.parallel),
        "OLLAMA_KEEP_ALIVE": str(spec.keep_alive),
        "OLLAMA_KV_CACHE_TYPE": spec.kv_cache,
        "OLLAMA_MAX_LOADED_MODELS": str(max(1, len(spec.models))),
    }
    if spec.flash_attention is not None:
        wanted["OLLAMA_FLASH_ATTENTION"] = _text(spec.flash_attention)
    return wanted | {name: _text(value) for name, value in spec.env.items()}


def _text(value: str | int | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
