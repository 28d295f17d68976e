"""A bundle on the disk: what of it is there and sound, and how files come into their places.

A file has its name only after its sha256 was right. Which files were hashed in which state is noted in
a folder beside them, so that a second run reads none of them again.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ollama_fleet.bundle.item import Item

# Hidden, so that nobody serves it.
STATE = ".fleet-bundle"
NOTES, LOCK, PARTIAL = "sound.json", "lock", "partial"


class FolderError(Exception):
    """A folder that cannot be a bundle now; says why."""


class Folder:
    """A bundle's folder, to be looked at; to write to it, it has to be claimed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._state = root / STATE
        self._guard = threading.Lock()
        self._notes = self._read_notes()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """For one run alone; made where it is not there. Raises FolderError where another one is at it."""
        (self._state / PARTIAL).mkdir(parents=True, exist_ok=True)
        with (self._state / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderError(
                    f"another `fleet bundle` is at {self.root}; wait for it"
                ) from None
            self._notes = self._read_notes()
            try:
                yield
            finally:
                self._write_notes()

    def has(self, item: Item) -> bool:
        """Whether a file is there and sound; hashed only if it changed since it was last."""
        state = self._state_of(item.path)
        if state is None or item.size not in (None, state[0]):
            return False
        if self._notes.get(item.path) == (item.sha256, *state):
            return True
        if digest_of(self.root / item.path) != item.sha256:
            return False
        self._note(item)
        return True

    def begun(self, item: Item) -> Path:
        """Where a file lies while it is fetched: the same for the same content."""
        return self._state / PARTIAL / item.sha256

    def begun_bytes(self, item: Item) -> int:
        """How much of it is there already."""
        path = self.begun(item)
        return path.stat().st_size if path.exists() else 0

    def place(self, item: Item) -> None:
        """Give the sound file that was fetched its name."""
        target = self._target(item)
        self.begun(item).replace(target)
        target.chmod(0o644)
        self._note(item)

    def write(self, item: Item) -> None:
        """Put a file there whose content is known."""
        self.begun(item).write_bytes(item.content or b"")
        self.place(item)

    def link(self, item: Item, other: Item) -> None:
        """Let `item` be the file that `other` is: one copy under two names, where the disk can."""
        target = self._target(item)
        staged = target.with_name(f".new-{item.sha256[:16]}-{threading.get_ident()}")
        with suppress(FileNotFoundError):
            staged.unlink()
        try:
            os.link(self.root / other.path, staged)
        except OSError:
            shutil.copyfile(self.root / other.path, staged)
        staged.replace(target)
        # Where both names were one file already, the new name stays behind.
        with suppress(FileNotFoundError):
            staged.unlink()
        self._note(item)

    def free_bytes(self) -> int:
        """Room on its disk, or on the one where it would be made."""
        place = self.root.absolute()
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def listed(self) -> dict[str, str]:
        """Path to sha256 (hex) of every file of the bundle that is there as it was hashed."""
        return {
            path: digest
            for path, (digest, *state) in sorted(self._notes.items())
            if self._state_of(path) == tuple(state)
        }

    def _target(self, item: Item) -> Path:
        target = self.root / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _state_of(self, path: str) -> tuple[int, int] | None:
        try:
            found = (self.root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size, found.st_mtime_ns

    def _note(self, item: Item) -> None:
        state = self._state_of(item.path)
        if state:
            with self._guard:
                self._notes[item.path] = (item.sha256, *state)

    def _read_notes(self) -> dict[str, tuple[str, int, int]]:
        """Of an earlier run; without them everything is hashed."""
        try:
            rows = json.loads((self._state / NOTES).read_text(encoding="utf-8"))
            return {
                str(path): (str(row[0]), int(row[1]), int(row[2])) for path, row in rows.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, IndexError):
            return {}

    def _write_notes(self) -> None:
        write_atomically(self._state / NOTES, json.dumps(self._notes, indent=0))


def digest_of(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """A text file that is there as a whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".new-", delete=False, encoding="utf-8"
    ) as staged:
        staged.write(text)
    Path(staged.name).chmod(0o644)
    Path(staged.name).replace(path)
