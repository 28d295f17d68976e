"""One model of the store as the API describes it, and how big it pretends to be."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import gguf
from .manifests import BadManifestError, Manifest
from .names import ModelName
from .store import Store

F16_BYTES = 2


@dataclass(frozen=True)
class Model:
    name: ModelName
    store: Store
    manifest: Manifest

    @cached_property
    def path(self) -> Path:
        layer = self.manifest.first("model")
        if layer is None:
            raise gguf.BadGgufError("model has no weights")
        return self.store.blob(layer.digest)

    @cached_property
    def config(self) -> dict[str, Any]:
        return as_object(self.store.blob(self.manifest.config.digest).read_bytes())

    @cached_property
    def header(self) -> dict[str, Any]:
        return gguf.metadata(self.path)

    @cached_property
    def info(self) -> dict[str, Any]:
        """The model's own metadata: what the file pretends to be, or else what it is."""
        pretended = self.header.get("lab.model_info")
        if pretended:
            return as_object(pretended)
        return {key: value for key, value in self.header.items() if not key.startswith("lab.")}

    def dimension(self, key: str, default: int) -> int:
        return int(self.info.get(f"{self.architecture}.{key}", default))

    @property
    def architecture(self) -> str:
        return str(self.info.get("general.architecture", "llama"))

    @property
    def weight_bytes(self) -> int:
        return int(self.header.get("lab.weight_bytes") or self.path.stat().st_size)

    @property
    def active_weight_bytes(self) -> int:
        """What one token reads: less than the weights for a mixture of experts."""
        return int(self.header.get("lab.active_weight_bytes") or self.weight_bytes)

    @property
    def kv_bytes_per_token(self) -> int:
        """The key/value cache of one token at f16."""
        if "lab.kv_bytes_per_token" in self.header:
            return int(self.header["lab.kv_bytes_per_token"])
        heads = self.dimension("attention.head_count", 1)
        width = self.dimension("embedding_length", 0) // heads
        kv_heads = self.dimension("attention.head_count_kv", heads)
        return 2 * self.dimension("block_count", 0) * kv_heads * width * F16_BYTES

    @property
    def layers(self) -> int:
        return self.dimension("block_count", 1)

    @property
    def context_max(self) -> int:
        return self.dimension("context_length", 4096)

    @property
    def embedding_length(self) -> int:
        return self.dimension("embedding_length", 64)

    @property
    def capabilities(self) -> list[str]:
        stated = self.header.get("lab.capabilities")
        if stated:
            return str(stated).split(",")
        pooled = f"{self.architecture}.pooling_type" in self.header
        return ["embedding"] if pooled else ["completion"]

    @cached_property
    def parameters(self) -> dict[str, Any]:
        text = self.text("params")
        return as_object(text) if text else {}

    def text(self, kind: str) -> str:
        """The content of a text layer; empty when the model has none."""
        layer = self.manifest.first(kind)
        return self.store.blob(layer.digest).read_text() if layer else ""

    @property
    def details(self) -> dict[str, Any]:
        family = self.config.get("model_family", "")
        return {
            "parent_model": "",
            "format": self.config.get("model_format", "gguf"),
            "family": family,
            "families": self.config.get("model_families") or [family],
            "parameter_size": self.config.get("model_type", ""),
            "quantization_level": self.config.get("file_type", ""),
        }


def as_object(text: str | bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise BadManifestError("not a JSON object")
    return found


def load(store: Store, name: ModelName) -> Model:
    """The model of that name; MissingModelError when there is none."""
    return Model(name, store, store.manifest(name))
