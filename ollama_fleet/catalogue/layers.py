"""Which layers of a model keep what, from the keys of its file; imports this package.

Decides as llama.cpp decides for an architecture where a key leaves it open.
"""

from dataclasses import dataclass

from ollama_fleet.catalogue.ggml import GgufError
from ollama_fleet.catalogue.gguf_header import Value
from ollama_fleet.catalogue.model import Cache, Recurrent

# Every n-th layer attends to the whole context; only for architectures that cut the others' caches.
FULL_EVERY = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma4": 6,
    "gptoss": 2,
    "gpt-oss": 2,
    "llama4": 4,
    "cohere2": 4,
}
HYBRID_EVERY = {"qwen35": 4, "qwen35moe": 4, "qwen3next": 4}
# Layers from the start that own a cache where no key says so (gemma3n shares its last ones).
OWNERS = {"gemma3n": 20}
CHUNK = {"llama4": 8192}


@dataclass(frozen=True)
class Keys:
    """Metadata of one file, asked for by the part after the architecture."""

    architecture: str
    values: dict[str, Value]

    def whole(self, name: str, default: int | None = None) -> int:
        """A number of the architecture; the largest where there is one per layer."""
        value = self.values.get(f"{self.architecture}.{name}")
        if isinstance(value, tuple) and value:
            value = max(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int):
            return int(value)
        if default is None:
            raise GgufError(f"the metadata has no {self.architecture}.{name}")
        return default

    def per_layer(self, name: str, layers: int, default: int) -> list[int]:
        """A number for each layer, whether the file says one or a list."""
        value = self.values.get(f"{self.architecture}.{name}")
        if isinstance(value, tuple) and len(value) >= layers:
            return [self._whole(name, one) for one in value[:layers]]
        return [self.whole(name, default)] * layers

    def _whole(self, name: str, value: int | float | bool) -> int:
        if isinstance(value, int):
            return int(value)
        raise GgufError(f"{self.architecture}.{name} holds {value}, no whole number")


def mla_width(keys: Keys) -> int:
    """Latent and rotary part, in files that store the absorbed form; 0 in all others."""
    if not keys.whole("attention.key_length_mla", 0):
        return 0
    return keys.whole("attention.kv_lora_rank") + keys.whole("rope.dimension_count")


def caches(keys: Keys, layers: int) -> tuple[Cache | None, Cache | None]:
    """Layers with a full cache and layers with a window's."""
    if "bert" in keys.architecture:
        return None, None
    heads = max(1, keys.whole("attention.head_count"))
    kv_heads = keys.per_layer("attention.head_count_kv", layers, heads)
    owned = [layer for layer in range(_owners(keys, layers)) if kv_heads[layer]]
    every = keys.whole("full_attention_interval", HYBRID_EVERY.get(keys.architecture, 1))
    owned = [layer for layer in owned if (layer + 1) % max(1, every) == 0]
    windowed = _windowed(keys, layers)
    width = keys.whole("embedding_length") // heads
    window = _window(keys)
    return (
        _cache(keys, [kv_heads[i] for i in owned if i not in windowed], "", width, None),
        _cache(keys, [kv_heads[i] for i in owned if i in windowed], "_swa", width, window),
    )


def _owners(keys: Keys, layers: int) -> int:
    shared = keys.whole(
        "attention.shared_kv_layers", layers - OWNERS.get(keys.architecture, layers)
    )
    return max(0, min(layers, layers - shared))


def _window(keys: Keys) -> int:
    return keys.whole("attention.sliding_window", 0) or keys.whole(
        "attention.chunk_size", CHUNK.get(keys.architecture, 0)
    )


def _windowed(keys: Keys, layers: int) -> set[int]:
    """Layers that look back on a window only."""
    pattern = keys.values.get(f"{keys.architecture}.attention.sliding_window_pattern")
    if not _window(keys):
        return set()
    if isinstance(pattern, tuple):
        return {layer for layer, slides in enumerate(pattern[:layers]) if slides}
    every = FULL_EVERY.get(keys.architecture, 0)
    if isinstance(pattern, int) and not isinstance(pattern, bool) and pattern > 0:
        every = pattern
    return {layer for layer in range(layers) if every and (layer + 1) % every}


def _cache(
    keys: Keys, kv_heads: list[int], suffix: str, width: int, window: int | None
) -> Cache | None:
    if not kv_heads:
        return None
    key = keys.whole("attention.key_length", width)
    value = keys.whole("attention.value_length", width)
    return Cache(
        layers=len(kv_heads),
        kv_heads=-(-sum(kv_heads) // len(kv_heads)),
        key_length=keys.whole(f"attention.key_length{suffix}", key),
        value_length=keys.whole(f"attention.value_length{suffix}", value),
        window=window,
    )


def recurrent(keys: Keys, layers: int) -> Recurrent | None:
    """Convolution and state in f32: 4 × ((kernel - 1) × (D + 2 × groups × state) + state × D)."""
    inner, state = keys.whole("ssm.inner_size", 0), keys.whole("ssm.state_size", 0)
    if not inner:
        return None
    groups, kernel = keys.whole("ssm.group_count", 0), keys.whole("ssm.conv_kernel", 4)
    each = 4 * ((kernel - 1) * (inner + 2 * groups * state) + state * inner)
    return Recurrent(
        layers=(count := _recurrent_layers(keys, layers)), bytes_per_sequence=count * each
    )


def _recurrent_layers(keys: Keys, layers: int) -> int:
    every = keys.whole("full_attention_interval", HYBRID_EVERY.get(keys.architecture, 0))
    if every > 0:
        return layers - layers // every
    kv_heads = keys.per_layer("attention.head_count_kv", layers, 0)
    ffn = keys.per_layer("feed_forward_length", layers, 0)
    mixed = len(set(ffn)) > 1
    return sum(
        not heads and not (mixed and width) for heads, width in zip(kv_heads, ffn, strict=True)
    )
