"""Pulling a model: its blobs with resume, then checked, its manifest written last."""

import errno
import hashlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import manifests
from .manifests import BadManifestError, Layer, Manifest
from .names import ModelName
from .registry import Registry, RegistryError, ranged
from .runner import ClientGoneError
from .store import MissingModelError, Store

PROGRESS_S = 0.06
CHUNK_BYTES = 1 << 18
MIN_PART_BYTES, MAX_PART_BYTES, MAX_PARTS = 100_000_000, 1_000_000_000, 16
MAX_TRIES = 6
FIRST_PAUSE_S = 0.01  # the real client begins with a second

RETRIED = (RegistryError, OSError, http.client.HTTPException, EOFError)

_locks: dict[str, threading.Lock] = {}

Step = dict[str, Any]


class PullError(Exception):
    """The pull failed; the message is what the client is told."""


@dataclass
class Part:
    """One range of a blob, and how much of it is on disk; its state survives in a small file."""

    file: Path
    number: int
    offset: int
    size: int
    completed: int = 0

    def save(self) -> None:
        keys = {"N": self.number, "Offset": self.offset, "Size": self.size}
        self.file.write_text(json.dumps({**keys, "Completed": self.completed}))


def pull(
    store: Store, name: ModelName, scheme: str, keep_old: bool, client_gone: Callable[[], bool]
) -> Iterator[Step]:
    yield {"status": "pulling manifest"}
    registry = Registry(scheme, name)
    try:
        manifest = manifests.parse(registry.manifest())
    except (RegistryError, BadManifestError) as error:
        raise PullError(f"pull model manifest: {error}") from error
    fetched = []
    for layer in manifest.blobs:
        if store.blob(layer.digest).is_file():  # trusted as it is, like the real one
            yield _progress(layer, layer.size_bytes)
            continue
        fetched.append(layer)
        yield from _download(store, registry, layer, client_gone)
    yield {"status": "verifying sha256 digest"}
    _verify(store, fetched)
    yield {"status": "writing manifest"}
    old = _old_manifest(store, name)
    store.write_manifest(name, manifest)
    if old and not keep_old:
        yield {"status": "removing unused layers"}
        store.drop_unused(old)
    yield {"status": "success"}


def _old_manifest(store: Store, name: ModelName) -> Manifest | None:
    try:
        return store.manifest(name)
    except (MissingModelError, BadManifestError):
        return None


def _progress(layer: Layer, completed: int) -> Step:
    short = layer.digest.removeprefix("sha256:")[:12]
    step: Step = {"status": f"pulling {short}", "digest": layer.digest, "total": layer.size_bytes}
    return {**step, "completed": completed} if completed else step


def _download(
    store: Store, registry: Registry, layer: Layer, client_gone: Callable[[], bool]
) -> Iterator[Step]:
    """One blob into its place; whoever pulls it at the same time waits and finds it there."""
    target = store.blob(layer.digest)
    with _locks.setdefault(layer.digest, threading.Lock()):
        if target.is_file():
            yield _progress(layer, layer.size_bytes)
            return
        partial = target.with_name(f"{target.name}-partial")
        try:
            parts = _parts(partial, registry.blob_bytes(layer.digest))
            url = registry.direct_url(layer.digest)
        except RegistryError as error:
            raise PullError(str(error)) from error
        yield _progress(layer, sum(part.completed for part in parts))
        shown_s = time.monotonic()
        for _ in _fetch(url, partial, parts):
            if client_gone():
                raise ClientGoneError
            if time.monotonic() - shown_s >= PROGRESS_S:
                shown_s = time.monotonic()
                yield _progress(layer, sum(part.completed for part in parts))
        for part in parts:
            part.file.unlink()
        partial.replace(target)
        yield _progress(layer, layer.size_bytes)


def _parts(partial: Path, total: int) -> list[Part]:
    """The parts of a blob as an earlier pull left them, or new ones."""
    parts = []
    for number, file in enumerate(sorted(partial.parent.glob(f"{partial.name}-*"), key=_number)):
        state = json.loads(file.read_text())
        parts.append(Part(file, number, state["Offset"], state["Size"], state["Completed"]))
    if parts:
        return parts
    size = min(max(total // MAX_PARTS, MIN_PART_BYTES), MAX_PART_BYTES)
    for number, offset in enumerate(range(0, total, size)):
        file = partial.with_name(f"{partial.name}-{number}")
        parts.append(Part(file, number, offset, min(size, total - offset)))
        parts[-1].save()
    return parts


def _number(file: Path) -> int:
    return int(file.name.rpartition("-")[2])


def _fetch(url: str, partial: Path, parts: list[Part]) -> Iterator[None]:
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        for part in parts:
            tries = 0
            while part.completed < part.size:
                try:
                    yield from _fetch_rest(url, descriptor, part)
                except RETRIED as error:
                    tries += 1
                    if _is_full_disk(error):
                        raise PullError("no space left on device") from error
                    if tries >= MAX_TRIES:
                        raise PullError(f"max retries exceeded: {_words(error)}") from error
                    time.sleep(FIRST_PAUSE_S * 2**tries)
    finally:
        os.close(descriptor)


def _fetch_rest(url: str, descriptor: int, part: Part) -> Iterator[None]:
    try:
        with ranged(url, part.offset + part.completed, part.offset + part.size - 1) as response:
            while part.completed < part.size:
                piece = response.read(min(CHUNK_BYTES, part.size - part.completed))
                if not piece:
                    raise EOFError
                os.pwrite(descriptor, piece, part.offset + part.completed)
                part.completed += len(piece)
                yield
    finally:
        part.save()


def _is_full_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def _words(error: Exception) -> str:
    if isinstance(error, EOFError | http.client.IncompleteRead):
        return "unexpected EOF"
    return str(error)


def _verify(store: Store, layers: list[Layer]) -> None:
    for layer in layers:
        path = store.blob(layer.digest)
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != layer.digest:
            path.unlink()
            problem = "digest mismatch, file must be downloaded again"
            raise PullError(f"{problem}: want {layer.digest}, got {found}")
