"""The model store on disk: manifests and blobs in the real layout; knows no network, no GPU."""

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import manifests
from .manifests import Layer, Manifest
from .names import BadNameError, ModelName, parse

PRUNE_GRACE_S = 3600
BLOB_FILE = re.compile(r"sha256-[0-9a-f]{64}")


class MissingModelError(Exception):
    """There is no manifest of that name."""


@dataclass(frozen=True)
class Store:
    root: Path

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    def open(self) -> None:
        """Make the two directories unless they exist, so that a read-only store is fine."""
        for directory in (self.blobs, self.manifests):
            if not directory.is_dir():
                directory.mkdir(mode=0o755, parents=True)
        for old in self.blobs.glob("sha256:*"):
            old.rename(old.with_name(old.name.replace(":", "-")))

    def blob(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def manifest_path(self, name: ModelName) -> Path:
        return self.manifests / name.host / name.namespace / name.model / name.tag

    def manifest(self, name: ModelName) -> Manifest:
        try:
            return manifests.parse(self.manifest_path(name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise MissingModelError(str(name)) from error

    def modified_s(self, name: ModelName) -> float:
        return self.manifest_path(name).stat().st_mtime

    def names(self) -> list[ModelName]:
        """Every model with a readable manifest, the newest first."""
        found = [name for name, _ in self._entries()]
        return sorted(found, key=self.modified_s, reverse=True)

    def write_manifest(self, name: ModelName, manifest: Manifest) -> None:
        path = self.manifest_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.raw)

    def write_blob(self, content: bytes, kind: str) -> Layer:
        digest = manifests.digest_of(content)
        target = self.blob(digest)
        if not target.exists():
            staged = self.blobs / f"{target.name}.{os.getpid()}.{threading.get_ident()}-partial"
            staged.write_bytes(content)
            staged.replace(target)
        return Layer(kind, digest, len(content))

    def copy(self, source: ModelName, destination: ModelName) -> None:
        self.write_manifest(destination, self.manifest(source))

    def delete(self, name: ModelName) -> None:
        """Remove a model, and the blobs that no other model uses."""
        manifest = self.manifest(name)
        self.manifest_path(name).unlink()
        self._remove_empty_directories()
        self.drop_unused(manifest)

    def drop_unused(self, manifest: Manifest) -> None:
        used = self._used()
        for layer in manifest.blobs:
            if layer.digest not in used:
                self.blob(layer.digest).unlink(missing_ok=True)

    def prune(self) -> None:
        """What every start without OLLAMA_NOPRUNE does: drop old blobs that nobody names."""
        bad = self._bad_manifests()
        if bad:
            print(
                f'level=WARN msg="corrupt manifests detected, skipping prune" path={bad[0]}',
                file=sys.stderr,
                flush=True,
            )
            return
        keep = {self.blob(digest).name for digest in self._used()}
        for path in self.blobs.iterdir():
            young = time.time() - path.stat().st_mtime < PRUNE_GRACE_S
            if path.name not in keep and not young:
                path.unlink()
        self._remove_empty_directories()

    def _used(self) -> set[str]:
        return {layer.digest for _, manifest in self._entries() for layer in manifest.blobs}

    def _files(self) -> Iterator[tuple[Path, ModelName | None]]:
        for path in sorted(self.manifests.rglob("*")):
            if not path.is_file():
                continue
            parts = path.relative_to(self.manifests).parts
            try:
                yield path, parse(f"{'/'.join(parts[:3])}:{parts[3]}") if len(parts) == 4 else None
            except BadNameError:
                yield path, None

    def _entries(self) -> Iterator[tuple[ModelName, Manifest]]:
        for path, name in self._files():
            try:
                if name is not None:
                    yield name, manifests.parse(path.read_bytes())
            except (manifests.BadManifestError, FileNotFoundError):
                print(f'level=WARN msg="bad manifest" name={name}', file=sys.stderr, flush=True)

    def _bad_manifests(self) -> list[Path]:
        good = {self.manifest_path(name) for name, _ in self._entries()}
        return [path for path, _ in self._files() if path not in good]

    def _remove_empty_directories(self) -> None:
        for path in sorted(self.manifests.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.blobs).free
