"""An Ollama release: its archives, by the checksums that the inventory pins, and its own list of them."""

import re
from collections.abc import Collection
from functools import partial

from ollama_fleet import web
from ollama_fleet.bundle.item import Item, Part, PartError, known
from ollama_fleet.planner.plan import Release
from ollama_fleet.sources import TREE

SUMS = "sha256sum.txt"
LARGEST_SUMS_BYTES = 2**20


def release_part(release: Release, arches: Collection[str]) -> Part:
    """The archives of a release for `arches` (amd64, arm64). Raises PartError and web.FetchError."""
    url = f"{release.release_url.rstrip('/')}/v{release.version}"
    folder = f"{TREE.releases}/v{release.version}".lstrip("/")
    sums = web.content(f"{url}/{SUMS}", LARGEST_SUMS_BYTES)
    files = [_archive(folder, release, arch) for arch in arches]
    for item in files:
        _agree(f"{url}/{SUMS}", sums, item)
    return Part(
        f"Ollama {release.version} ({', '.join(arches)})",
        tuple(files),
        (known(f"{folder}/{SUMS}", sums, f"{url}/{SUMS}"),),
    )


def _archive(folder: str, release: Release, arch: str) -> Item:
    pinned = release.sha256.get(arch)
    if pinned is None or not re.fullmatch(r"[0-9a-f]{64}", pinned):
        raise PartError(
            f"no checksum of Ollama {release.version} for {arch} is pinned; pin it by "
            f"`fleet pin ollama {release.version}`"
        )
    address = release.url(arch)
    name = address.rpartition("/")[2]
    return Item(
        f"{folder}/{name}", pinned, web.length_of(address), address, partial(web.open_at, address)
    )


def _agree(url: str, sums: bytes, item: Item) -> None:
    name = item.path.rpartition("/")[2]
    rows = re.findall(r"^([0-9a-f]{64}) [ *](?:\./)?(\S+)$", sums.decode(errors="replace"), re.M)
    said = {file: digest for digest, file in rows}.get(name)
    if said != item.sha256:
        raise PartError(
            f"{url} says {said or 'nothing'} of {name}, and the inventory pins {item.sha256}; look which "
            "is right before you change the pin"
        )
