"""The last verifications of an inventory, kept beside its project: `.fleet/runs/<inventory>/<started>.json`.

A history is nice to have: whatever goes wrong with it is said, and ends nothing.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.verification_json import outcome_text, read_outcome

KEPT = 50


def folder_of(inventory: Path) -> Path:
    """Where runs of an inventory are kept: in the project that it is in (the next folder above it that
    has a deploy.py), else beside it."""
    place = inventory.resolve().parent
    project = next((at for at in (place, *place.parents) if (at / "deploy.py").is_file()), place)
    return project / ".fleet/runs" / inventory.stem


def earlier_runs(inventory: Path) -> list[Outcome]:
    """Those that are kept, the oldest first; what cannot be read is left out."""
    return list(_read(folder_of(inventory)))


def keep_run(inventory: Path, outcome: Outcome) -> str:
    """Keep one more, and of all the last KEPT. Returns what went wrong, or nothing."""
    folder = folder_of(inventory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two may end in the same second.
        name = f"{outcome.started.replace(':', '')}-{os.getpid()}.json"
        write_whole(folder / name, outcome_text(outcome).encode())
        for old in sorted(folder.glob("*.json"))[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        return f"{folder}: this run is not kept: {error.strerror}; reports will not have it"
    return ""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once: nobody ever reads half of it. Raises OSError."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        staged.write_bytes(content)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _read(folder: Path) -> Iterator[Outcome]:
    for path in sorted(folder.glob("*.json"))[-KEPT:]:
        try:
            yield read_outcome(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            continue
