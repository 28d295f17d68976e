"""Models in the tree of a registry: manifests by tag and by digest, and the blobs that they name."""

import re
from collections.abc import Iterable
from functools import partial

from ollama_fleet.bundle.item import Item, Part, PartError, known
from ollama_fleet.registry import Manifest, Registry
from ollama_fleet.sources import REGISTRY_PATH
from ollama_fleet.store import ModelName, parse_name

# What Ollama's own client takes, and no path that leads elsewhere.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")


def model_part(model: str, manifest: Manifest, base: str, registry: Registry) -> Part:
    """A model as its manifest says; its blobs are at `base`. Raises PartError."""
    name = parse_name(model)
    if not all(NAME.fullmatch(part) for part in (name.namespace, name.model, name.tag)):
        raise PartError(f"{model} is no name under which a registry could serve it")
    folder = f"{REGISTRY_PATH}/{name.namespace}/{name.model}".lstrip("/")
    files = [
        Item(
            f"{folder}/blobs/sha256:{digest}",
            digest,
            size,
            f"{base}/blobs/sha256:{digest}",
            partial(registry.blob, base, digest),
        )
        for digest, size in manifest.blobs.items()
    ]
    text, url = manifest.text.encode(), f"{base}/manifests/{name.tag}"
    tags = (f"sha256:{manifest.digest}", name.tag)
    heads = [known(f"{folder}/manifests/{tag}", text, url) for tag in tags]
    return Part(model, tuple(files), tuple(heads))


def clash(models: Iterable[str]) -> str | None:
    """Why these models cannot lie in one tree, in words; None when they can.

    A tree has no place for the registry of a name, so two of them must not have one path.
    """
    seen: dict[tuple[str, str], tuple[ModelName, str]] = {}
    for model in models:
        name = parse_name(model)
        other, its = seen.setdefault((name.namespace, name.model), (name, model))
        if other.host != name.host:
            return (
                f"{its} and {model} would be at one address in a bundle, for it serves all registries "
                "under one; bundle the hosts that want them apart, with --host"
            )
    return None
