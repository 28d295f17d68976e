"""A release's sha256sum.txt: `<hex>  ./<asset>` lines. Imports the catalogue only."""

import re

from ollama_fleet.catalogue.release import ARCHITECTURES, asset

CHECKSUMS = "sha256sum.txt"
DIGEST = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"^([0-9a-fA-F]{64}) [ *](?:\./)?(\S+)\s*$", re.MULTILINE)


def archive_sums(text: str, archive: str) -> dict[str, str]:
    """Checksum of `archive` per architecture; one of them may be missing.

    Raises ValueError, in words that go on from the list's name, when there is none at all.
    """
    listed = {name: digest.lower() for digest, name in _LINE.findall(text)}
    found = {arch: listed.get(asset(archive, arch)) for arch in ARCHITECTURES}
    sums = {arch: digest for arch, digest in found.items() if digest}
    if sums:
        return sums
    servers = sorted(name for name in listed if name.startswith("ollama-linux-"))
    if servers:
        raise ValueError(
            f"holds no checksum of {archive}; it has {', '.join(servers[:8])}: say which with `archive`"
        )
    raise ValueError(
        f"holds no checksum of {archive}; is it a release's {CHECKSUMS}, the whole of it?"
    )
