"""Where bytes come from: the public originals, and the same four below one address, as a mirror has them.

Whoever makes, serves or reads a mirror's tree takes its paths from here. Knows no other room.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sources:
    """Four places that hosts fetch from, without a slash at the end.

    `releases` has v<version>/<asset> of Ollama below it. `models` is a registry: clients add /v2/….
    `driver` and `container_toolkit` are NVIDIA's package repositories.
    """

    releases: str
    models: str
    driver: str
    container_toolkit: str


PUBLIC = Sources(
    releases="https://github.com/ollama/ollama/releases/download",
    models="https://registry.ollama.ai",
    driver="https://developer.download.nvidia.com/compute/cuda/repos",
    container_toolkit="https://nvidia.github.io/libnvidia-container",
)
# Paths of a mirror; a registry has none, for Ollama's client knows registries by host and port only.
TREE = Sources(
    releases="/ollama",
    models="",
    driver="/nvidia/cuda/repos",
    container_toolkit="/nvidia/libnvidia-container",
)
REGISTRY_PATH = "/v2"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def sources_at(url: str) -> Sources:
    """The four places of the mirror at `url`, such as http://10.0.0.5:8480."""
    base = url.rstrip("/")
    return Sources(**{name: f"{base}{path}" for name, path in vars(TREE).items()})
