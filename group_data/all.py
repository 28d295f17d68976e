"""Defaults for every host; an inventory's `ollama:` section goes before them.

Few keys on purpose: each costs time on every host.
"""

# The release that hosts run. Its archive has to be pinned, by `fleet pin ollama VERSION`: that fetches
# the release's own list of checksums, keeps them below and sets the version. What was pinned once stays:
# going back is changing the version.
ollama_version = "0.32.15"
ollama_pins: dict[str, dict[str, str]] = {}
ollama_release_url = "https://github.com/ollama/ollama/releases/download"
ollama_registry = None

# Seconds that verification gives a slice for one short generation, loading the model included.
verify_timeout_s = 600
