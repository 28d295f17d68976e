"""Ollama archives on this machine, by sha256: fetched once for all hosts, continued, verified.

For hosts that reach no release. Touches this machine and the network only; knows no host.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from ollama_fleet.release.http import HEADERS, TIMEOUTS_S, why_not

TRIES = 4
WAIT_S = 1.0
SAY_EVERY_S = 10.0
CHUNK_BYTES = 2**20
# The server says that it will not do better the next time.
FINAL = range(400, 500)
TOO_MANY, WRONG_RANGE = 429, 416

_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
_sound: set[str] = set()
_failed: dict[str, tuple[float, str]] = {}


class DownloadError(Exception):
    """An archive cannot be had; says where it was looked for, why, and what to do."""


def cache_folder() -> Path:
    """Below $XDG_CACHE_HOME or ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".cache") / "ollama-fleet" / "archives"


def path_in_cache(digest: str) -> Path:
    """Where the archive with this sha256 lies when it is there."""
    return cache_folder() / digest


def cached_archive(url: str, digest: str, say: Callable[[str], object]) -> Path:
    """The archive with this sha256, fetched from `url` unless it is in the cache.

    Those who ask at the same time, in this process or another one, wait for one download. What an
    earlier one has left is gone on with. Raises DownloadError.
    """
    asked, path = time.monotonic(), path_in_cache(digest)
    with _locks[digest]:
        failed_at, why = _failed.get(digest, (asked - 1, ""))
        if failed_at >= asked:
            raise DownloadError(why)
        try:
            _fill(url, path, digest, say)
        except DownloadError as error:
            _failed[digest] = (time.monotonic(), str(error))
            raise
    return path


def _fill(url: str, path: Path, digest: str, say: Callable[[str], object]) -> None:
    if digest in _sound and path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            # Once in each run: a broken disk here would otherwise break every host.
            if not (path.is_file() and _sha256(path) == digest):
                _download(url, path, digest, say)
    except OSError as error:
        raise DownloadError(f"cannot write {error.filename or path}: {error.strerror}") from None
    _sound.add(digest)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Other processes wait. Tried again and again, for a waiting call would hold up all other hosts."""
    with path.with_suffix(".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
        yield


def _download(url: str, path: Path, digest: str, say: Callable[[str], object]) -> None:
    partial = path.with_suffix(".partial")
    say(f"downloading {url} for all hosts that need it")
    for left in reversed(range(TRIES)):
        why = _go_on(url, partial, say)
        if why is None:
            break
        if not left:
            raise DownloadError(f"cannot download {url}: {why}. What came is kept: run again")
        time.sleep(WAIT_S)
    found = _sha256(partial)
    if found != digest:
        partial.unlink()
        raise DownloadError(
            f"sha256 of {url} is {found}, pinned is {digest}; compare the pin with the release's "
            "sha256sum.txt"
        )
    partial.replace(path)


def _go_on(url: str, partial: Path, say: Callable[[str], object]) -> str | None:
    """Fetch what is missing of `partial`; returns why it is still not all there, None when it is."""
    have = partial.stat().st_size if partial.is_file() else 0
    asked = {**HEADERS, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    try:
        with requests.get(url, headers=asked, stream=True, timeout=TIMEOUTS_S) as answer:
            if answer.status_code == WRONG_RANGE:
                # It has no more than that, or something else: what is here is all of it, or worthless.
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return None
                partial.unlink(missing_ok=True)
                return "the server has another file than before"
            if not answer.ok:
                return _refused(url, answer)
            goes_on = answer.status_code == requests.codes.partial_content
            _write(answer, partial, have if goes_on else 0, say)
    except (requests.RequestException, HTTPError) as error:
        return why_not(error)
    return None


def _refused(url: str, answer: requests.Response) -> str:
    why = f"the server says {answer.status_code} {answer.reason}"
    if answer.status_code in FINAL and answer.status_code != TOO_MANY:
        raise DownloadError(
            f"cannot download {url}: {why}; is it a release, and `archive:` the name of its archive?"
        )
    return why


def _write(
    answer: requests.Response, partial: Path, have: int, say: Callable[[str], object]
) -> None:
    length = answer.headers.get("Content-Length") or ""
    whole = have + (int(length) if length.isdecimal() else 0)
    said = time.monotonic()
    with partial.open("ab" if have else "wb") as file:
        for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=False):
            have += file.write(chunk)
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                say(f"  {have // 10**6} of {whole // 10**6} MB")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(8 * CHUNK_BYTES):
            digest.update(chunk)
            time.sleep(0)  # other hosts' turn
    return digest.hexdigest()
