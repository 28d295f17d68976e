"""The sha256 of large files on this machine, remembered for as long as they are the same.

`~/.cache/ollama-fleet/sha256.json` maps a path to what it was when it was hashed (size, time of its
last change, inode) and to its digest. Imports the planner's values and problems only.
"""

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_fleet.planner.custom import CustomModel
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError, Problem

BLOCK_BYTES = 2**22
# Below this nobody waits long enough to wonder.
WORTH_SAYING_BYTES = 2 * 2**30


def with_digests(plan: HostPlan, source: str) -> HostPlan:
    """`plan` with the digest of each file on this machine that it needs.

    Raises InputError where a file is not what `source`, the inventory, says.
    """
    if all(model.kind != "file" for model in plan.custom):
        return plan
    return replace(plan, custom=tuple(_with_digest(model, source) for model in plan.custom))


def _with_digest(model: CustomModel, source: str) -> CustomModel:
    if model.kind != "file":
        return model
    where = f"custom_models.{model.name}"
    try:
        found = file_sha256(Path(model.source))
    except OSError as error:
        what = f"{model.source} cannot be read: {error.strerror}"
        raise InputError([Problem(source, f"{where}.gguf", what)]) from None
    if model.sha256 not in (None, found):
        what = f"{model.source} has {found}; it is another file, or a damaged one"
        raise InputError([Problem(source, f"{where}.sha256", what)])
    return replace(model, sha256=found)


def file_sha256(path: Path) -> str:
    """The digest (hex) of a file, read only if it changed since it was last asked for. Raises OSError."""
    cache = _cache_path()
    known = _read(cache)
    kept = known.get(str(path))
    before = _state(path)
    if isinstance(kept, list) and kept[:-1] == before:
        return str(kept[-1])
    digest = _hash(path, before[0])
    if _state(path) == before:  # else it is being written to: the host will say so
        _write(cache, str(path), [*before, digest])
    return digest


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _hash(path: Path, size: int) -> str:
    if size >= WORTH_SAYING_BYTES:
        print(f"Hashing {path} ({size / 1e9:.1f} GB), once", file=sys.stderr, flush=True)
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()


def _cache_path() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ollama-fleet" / "sha256.json"


def _read(cache: Path) -> dict[str, Any]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path, path: str, entry: list[Any]) -> None:
    """A cache that cannot be written is none."""
    staged = cache.with_name(f"{cache.name}.{os.getpid()}")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps({**_read(cache), path: entry}), encoding="utf-8")
        staged.replace(cache)
