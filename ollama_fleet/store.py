"""Ollama's model store on disk: names, manifests, blobs. Pure: paths and text in, answers out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

PUBLIC_REGISTRY = "registry.ollama.ai"


@dataclass(frozen=True)
class ModelName:
    """A full model name: `host/namespace/model:tag`."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def path(self) -> str:
        """Its manifest, below the store's `manifests/`."""
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    @property
    def shortest(self) -> str:
        """As Ollama prints it: without what goes without saying."""
        parts = [self.host, self.namespace] if not self.is_public else []
        parts = parts or ([self.namespace] if self.namespace != "library" else [])
        return "/".join([*parts, f"{self.model}:{self.tag}"])

    @property
    def is_public(self) -> bool:
        """Whether the name says no registry of its own."""
        return self.host == PUBLIC_REGISTRY


def parse_name(name: str) -> ModelName:
    """`qwen3`, `user/model:tag`, `host:5000/library/qwen3:8b` → ModelName."""
    rest, _, tag = name.rpartition(":")
    if not rest or "/" in tag:
        rest, tag = name, "latest"
    parts = rest.split("/")
    if len(parts) == 1:
        parts = ["library", *parts]
    if len(parts) == 2:
        parts = [PUBLIC_REGISTRY, *parts]
    return ModelName("/".join(parts[:-2]), parts[-2], parts[-1], tag)


def wanted_blobs(manifest: str) -> dict[str, int] | None:
    """File name to size in bytes of every blob that a manifest names; None when it is no manifest."""
    try:
        content = json.loads(manifest)
        layers = [content["config"], *content["layers"]]
        return {str(layer["digest"]).replace(":", "-"): int(layer["size"]) for layer in layers}
    # A registry writes what it likes: numbers without end, brackets in brackets.
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def blobs_of(manifest: str) -> dict[str, int] | None:
    """sha256 (hex) to size in bytes of every blob that a manifest names; None when it is no manifest,
    or names what is no digest."""
    found = wanted_blobs(manifest) or {}
    whole = {name.removeprefix("sha256-"): size for name, size in found.items()}
    sound = all(re.fullmatch(r"[0-9a-f]{64}", name) and size >= 0 for name, size in whole.items())
    return whole if whole and sound else None


def is_complete(manifest: str, blobs: Mapping[str, int]) -> bool:
    """Whether every blob of `manifest` lies in the store (file name to bytes) in its full size."""
    wanted = wanted_blobs(manifest)
    return wanted is not None and all(blobs.get(name) == size for name, size in wanted.items())
