"""Making a model out of another or of uploaded blobs; asks no network."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from . import gguf, manifests, names
from .exchange import ApiError
from .manifests import DIGEST, Layer
from .names import BadNameError, ModelName
from .store import Store

TEXT_LAYERS = ("template", "system", "license")


def base_of(request: dict[str, Any]) -> ModelName | None:
    """The model that the request starts from."""
    text = request.get("from")
    try:
        return names.parse(str(text)) if text else None
    except BadNameError as error:
        raise ApiError(400, "invalid model name") from error


def check(request: dict[str, Any]) -> None:
    if not request.get("from") and not request.get("files"):
        raise ApiError(400, "neither 'from' or 'files' was specified")
    for key in ("template", "system"):
        if not isinstance(request.get(key, ""), str):
            raise ApiError(400, f"{key} must be a string")
    if not isinstance(request.get("parameters") or {}, dict):
        raise ApiError(400, "parameters must be an object")
    if str(request.get("template", "")).count("{{") != str(request.get("template", "")).count("}}"):
        raise ApiError(400, "template: unclosed action")
    for file, digest in (request.get("files") or {}).items():
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or not DIGEST.fullmatch(str(digest)):
            raise ApiError(400, f"invalid file {file!r}")


def create(
    store: Store, name: ModelName, base: ModelName | None, request: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The steps of making the model; its manifest is written last."""
    if base:
        origin = store.manifest(base)
        layers = list(origin.layers)
        config = json.loads(store.blob(origin.config.digest).read_bytes())
    else:
        yield {"status": "parsing GGUF"}
        layers = [_weights(store, digest) for digest in request["files"].values()]
        config = _config(store, layers[0])
    for layer in layers:
        yield {"status": f"using existing layer {layer.digest}"}
    for layer in _stated(store, layers, request):
        layers = [old for old in layers if old.kind != layer.kind] + [layer]
        yield {"status": f"creating new layer {layer.digest}"}
    yield {"status": "writing manifest"}
    written = store.write_blob(json.dumps(config).encode(), "config")
    store.write_manifest(name, manifests.compose(written, layers))
    yield {"status": "success"}


def _weights(store: Store, digest: str) -> Layer:
    path = store.blob(digest)
    if not path.is_file():
        raise ApiError(400, f"blob {digest} not found")
    return Layer("model", digest, path.stat().st_size)


def _config(store: Store, weights: Layer) -> dict[str, Any]:
    header = gguf.metadata(store.blob(weights.digest))
    family = str(header.get("general.architecture", "llama"))
    return {
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family],
        "model_type": str(header.get("general.size_label", "")),
        "file_type": "F32" if header.get("general.file_type", 0) == 0 else "unknown",
    }


def _stated(store: Store, layers: list[Layer], request: dict[str, Any]) -> Iterator[Layer]:
    """The layers that the request itself states."""
    for kind in TEXT_LAYERS:
        value = request.get(kind)
        if value:
            text = "\n".join(value) if isinstance(value, list) else str(value)
            yield store.write_blob(text.encode(), kind)
    if request.get("parameters"):
        old = next((layer for layer in layers if layer.kind == "params"), None)
        merged = json.loads(store.blob(old.digest).read_bytes()) if old else {}
        merged |= request["parameters"]
        yield store.write_blob(json.dumps(merged).encode(), "params")
