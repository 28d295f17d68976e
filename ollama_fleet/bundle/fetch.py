"""Downloads into a bundle: several at once, each content once, going on where one ended."""

import errno
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ollama_fleet import web
from ollama_fleet.bundle.folder import Folder, digest_of
from ollama_fleet.bundle.item import Item, Part
from ollama_fleet.bundle.wanted import Failure

WAIT_S = (1, 3, 5, 7)


class Watcher(Protocol):
    """Who is told how far downloads are; from several threads."""

    def begin(self, item: Item, had: int) -> None:
        """A file is fetched, of which so many bytes are there."""

    def advance(self, item: Item, count: int) -> None:
        """So many bytes came; less than none where it begins anew."""

    def end(self, item: Item) -> None:
        """It is there, or it failed."""


class BrokenAtSourceError(Exception):
    """A file is not what its index says, and asking again brings the same."""


@dataclass(frozen=True)
class Survey:
    """What of a bundle is still to come: contents by their sha256, each with all of its places."""

    missing: dict[str, list[Item]]
    files: int
    bytes: int
    begun_bytes: int

    @property
    def wanted_bytes(self) -> int:
        """What has to be downloaded, as far as sources tell sizes."""
        sizes = (group[0].size or 0 for group in self.missing.values())
        return max(0, sum(sizes) - self.begun_bytes)


def survey(folder: Folder, parts: Iterable[Part]) -> Survey:
    """Look what is there; files that were not hashed as they are now are hashed."""
    files = {item.path: item for part in parts for item in part.files}
    groups: dict[str, list[Item]] = {}
    for item in files.values():
        groups.setdefault(item.sha256, []).append(item)
    missing = {
        digest: group
        for digest, group in groups.items()
        if not any(folder.has(item) for item in group)
    }
    return Survey(
        missing,
        len(files),
        sum(group[0].size or 0 for group in groups.values()),
        sum(folder.begun_bytes(group[0]) for group in missing.values()),
    )


def fetch(
    folder: Folder, parts: Sequence[Part], found: Survey, watcher: Watcher, parallel: int
) -> list[Failure]:
    """Bring all of `parts` that can be had; returns what cannot. A part that lacks a file keeps the
    heads that it has."""
    stop = threading.Event()
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(parallel) as pool:
        jobs = {
            digest: pool.submit(_bring, folder, group[0], watcher, stop)
            for digest, group in found.missing.items()
        }
        try:
            for digest, job in jobs.items():
                if why := job.result():
                    failed[digest] = why
        except BaseException:  # a person wants to stop: what is begun is kept
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    failures = [Failure(found.missing[digest][0].path, why) for digest, why in failed.items()]
    copies: dict[str, Item] = {}
    for part in parts:
        copies |= {item.sha256: item for item in part.files if folder.has(item)}
    for part in parts:
        failures += _complete(folder, part, copies)
    return failures


def _complete(folder: Folder, part: Part, copies: dict[str, Item]) -> list[Failure]:
    """Every name of each file, then the heads, once all files are there."""
    lacking = [item for item in part.files if item.sha256 not in copies]
    if lacking:
        return [Failure(part.name, f"is not whole: {len(lacking)} of its files are missing")]
    try:
        for item in part.items:
            if folder.has(item):
                continue
            if item.sha256 in copies:
                folder.link(item, copies[item.sha256])
            else:
                folder.write(item)
    except OSError as error:
        return [Failure(part.name, disk_words(error))]
    return []


def _bring(folder: Folder, item: Item, watcher: Watcher, stop: threading.Event) -> str | None:
    """Fetch one content into its first place; why not, in words."""
    watcher.begin(item, folder.begun_bytes(item))
    try:
        _download(folder.begun(item), item, watcher, stop)
        folder.place(item)
    except (web.FetchError, BrokenAtSourceError) as error:
        return str(error)
    except OSError as error:
        return disk_words(error)
    finally:
        watcher.end(item)
    return None


def _download(path: Path, item: Item, watcher: Watcher, stop: threading.Event) -> None:
    """Until the file at `path` is whole and sound. Raises FetchError, BrokenAtSourceError, OSError."""
    fails, broken, best = 0, 0, -1
    while True:
        trouble = None
        have = path.stat().st_size if path.exists() else 0
        if have != item.size or not path.exists():
            try:
                _go_on(path, item, have, watcher, stop)
            except web.FetchError as error:
                # Everything else was tried again already, or no further try helps.
                if not error.broke_off and error.status != 416:
                    raise
                trouble = error
        have = path.stat().st_size if path.exists() else 0
        whole = trouble is None or trouble.status == 416
        if whole and item.size in (None, have):
            found = digest_of(path) if path.exists() else "that of nothing"
            if found == item.sha256:
                return
            _discard(path, item, have, watcher)
            broken += 1
            if broken > 1:
                raise BrokenAtSourceError(
                    f"the sha256 of {item.url} is {found} and not {item.sha256}: it is broken at its source"
                )
            continue
        too_long = item.size is not None and have > item.size
        if too_long or (trouble and trouble.status == 416):
            _discard(path, item, have, watcher)
        fails = 0 if have > best else fails
        best = max(best, have)
        if fails >= len(WAIT_S):
            raise trouble or web.FetchError(
                f"{item.url} ends after {have} of {item.size} bytes; what is here is kept, run again"
            )
        if stop.wait(WAIT_S[fails]):
            raise web.FetchError("stopped; what is here is kept, run again")
        fails += 1


def _go_on(path: Path, item: Item, have: int, watcher: Watcher, stop: threading.Event) -> None:
    """Fetch what lacks; from the start where the server cannot go on in the middle."""
    assert item.open
    answer = item.open(have)
    begins = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if have and not (answer.status_code == 206 and begins):
        watcher.advance(item, -have)
        have = 0
    with path.open("ab" if have else "wb") as target:
        for piece in web.pieces(answer):
            target.write(piece)
            watcher.advance(item, len(piece))
            if stop.is_set():
                raise web.FetchError("stopped; what is here is kept, run again")


def _discard(path: Path, item: Item, have: int, watcher: Watcher) -> None:
    path.unlink(missing_ok=True)
    watcher.advance(item, -have)


def disk_words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room and run again: what is here is kept"
    return f"cannot be written: {error.strerror or error}"
