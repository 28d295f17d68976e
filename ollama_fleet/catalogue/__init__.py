"""Facts about the world as data: models and GPUs. No policy, no arithmetic, no I/O but its tables.

`find_model("qwen3:8b")` and `find_gpu("RTX 3090")` are the way in; both raise a LookupError that
names what exists instead. A user's own model comes from `read_gguf` or `from_api_show`. Imports
none of ours.
"""

from ollama_fleet.catalogue.ggml import GgufError
from ollama_fleet.catalogue.gpu import Gpu, MigProfile
from ollama_fleet.catalogue.lookup import (
    UnknownGpu,
    UnknownModel,
    UnknownName,
    all_gpus,
    all_models,
    find_gpu,
    find_model,
    nearest_gpus,
    nearest_models,
)
from ollama_fleet.catalogue.model import ELEMENT_BYTES, Cache, KvCache, Model, Recurrent
from ollama_fleet.catalogue.own_models import from_api_show, read_gguf

__all__ = [
    "ELEMENT_BYTES",
    "Cache",
    "GgufError",
    "Gpu",
    "KvCache",
    "MigProfile",
    "Model",
    "Recurrent",
    "UnknownGpu",
    "UnknownModel",
    "UnknownName",
    "all_gpus",
    "all_models",
    "find_gpu",
    "find_model",
    "from_api_show",
    "nearest_gpus",
    "nearest_models",
    "read_gguf",
]
