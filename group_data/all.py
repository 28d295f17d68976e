"""Defaults for every host; an inventory's `ollama:` section goes before them.

Few keys on purpose: each costs time on every host.
"""

# The release that this version of the fleet was made for, and where it comes from. Checksums are
# pinned by the inventory: `ollama: {sha256: …}` or `sha256_file:`, from the release's own list.
ollama_version = "0.32.15"
ollama_sha256 = None
ollama_release_url = "https://github.com/ollama/ollama/releases/download"
ollama_registry = None

# Seconds that verification gives a slice for one short generation, loading the model included.
verify_timeout_s = 600
