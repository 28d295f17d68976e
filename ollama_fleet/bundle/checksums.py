"""CHECKSUMS: sha256 of every file of a bundle, as `sha256sum --check` reads it."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ollama_fleet.bundle.folder import STATE, Folder, digest_of, write_atomically

CHECKSUMS = "CHECKSUMS"
AT_ONCE = 4


@dataclass(frozen=True)
class Verdict:
    """What became of a bundle: `broken` in words, `unlisted` files that nobody vouches for."""

    files: int
    broken: tuple[str, ...]
    unlisted: tuple[str, ...]


def write_checksums(folder: Folder) -> None:
    """List all of a bundle that is there and sound."""
    rows = "".join(f"{digest}  {path}\n" for path, digest in folder.listed().items())
    write_atomically(folder.root / CHECKSUMS, rows)


def read_checksums(root: Path) -> dict[str, str]:
    """Path to sha256 (hex). Raises ValueError with words where this is no bundle."""
    try:
        text = (root / CHECKSUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{root} has no readable {CHECKSUMS}; is it a bundle?") from None
    rows = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in text.splitlines()]
    if not rows or not all(rows):
        raise ValueError(f"{root / CHECKSUMS} is no list of checksums; run `fleet bundle` again")
    found = {row[2]: row[1] for row in rows if row}
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in found):
        raise ValueError(
            f"{root / CHECKSUMS} names files outside of the bundle; it is not to be trusted"
        )
    return found


def verify(root: Path, tell: Callable[[int, int], None] = lambda done, files: None) -> Verdict:
    """Hash every file of the bundle at `root`; `tell` hears how many of how many are done. Raises
    ValueError as `read_checksums` does."""
    wanted = read_checksums(root)
    broken: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda row: _judge(root, *row), wanted.items())
        for done, words in enumerate(answers, 1):
            broken += words
            tell(done, len(wanted))
    unlisted = sorted(set(_files(root)) - set(wanted) - {CHECKSUMS})
    return Verdict(len(wanted), tuple(broken), tuple(unlisted))


def _judge(root: Path, path: str, digest: str) -> list[str]:
    try:
        found = digest_of(root / path)
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    return [] if found == digest else [f"{path}: its sha256 is {found} and not {digest}"]


def _files(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        if STATE in folders:
            folders.remove(STATE)
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()
