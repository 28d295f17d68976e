"""The manifest of a model: a small JSON document that names blobs by digest; pure data."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_PREFIX = "application/vnd.ollama.image."
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class BadManifestError(Exception):
    """The bytes are no manifest that we can use."""


@dataclass(frozen=True)
class Layer:
    kind: str  # model, template, system, params, license, config…
    digest: str
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        media = CONFIG_TYPE if self.kind == "config" else LAYER_PREFIX + self.kind
        return {"mediaType": media, "digest": self.digest, "size": self.size_bytes}


@dataclass(frozen=True)
class Manifest:
    raw: bytes
    config: Layer
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def blobs(self) -> tuple[Layer, ...]:
        return (*self.layers, self.config)

    @property
    def size_bytes(self) -> int:
        return sum(layer.size_bytes for layer in self.blobs)

    def first(self, kind: str) -> Layer | None:
        return next((layer for layer in self.layers if layer.kind == kind), None)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def parse(raw: bytes) -> Manifest:
    try:
        document = json.loads(raw)
        config = _layer(document["config"])
        layers = tuple(_layer(entry) for entry in document.get("layers") or [])
    except (ValueError, KeyError, TypeError) as error:
        raise BadManifestError(str(error)) from error
    return Manifest(raw, config, layers)


def compose(config: Layer, layers: list[Layer]) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in layers],
    }
    return Manifest(json.dumps(document, separators=(",", ":")).encode(), config, tuple(layers))


def _layer(entry: dict[str, Any]) -> Layer:
    digest, media = entry["digest"], entry["mediaType"]
    if not DIGEST.fullmatch(digest):  # digests become file names: nothing else may pass
        raise BadManifestError(f"invalid digest {digest!r}")
    kind = "config" if media == CONFIG_TYPE else media.removeprefix(LAYER_PREFIX)
    return Layer(kind, digest, int(entry["size"]))
