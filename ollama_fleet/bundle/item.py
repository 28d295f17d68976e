"""What a bundle is made of: files with their digests, in parts that are of use only as a whole."""

import hashlib
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import requests


class PartError(Exception):
    """A part of a bundle cannot be had at all; says which, why, and what to do."""


@dataclass(frozen=True)
class Item:
    """One file: where it lies in the bundle, its sha256 (hex), its size in bytes and its address.

    `open` answers with the file from a byte on. `content` is there where it was read already.
    """

    path: str
    sha256: str
    size: int | None
    url: str
    open: Callable[[int], requests.Response] | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        # It names the file that the download goes to.
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise PartError(f"{self.url} is listed with '{self.sha256}', which is no sha256")


@dataclass(frozen=True)
class Part:
    """What belongs together: `heads` (manifests, indexes) come into their places after all `files`,
    in order, and only when these are whole."""

    name: str
    files: tuple[Item, ...]
    heads: tuple[Item, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """All of it."""
        return self.files + self.heads


def known(path: str, content: bytes, url: str) -> Item:
    """A file that was read already."""
    digest = hashlib.sha256(content).hexdigest()
    return Item(path, digest, len(content), url, content=content)


def unpacked(url: str, read: Callable[[bytes], bytes], content: bytes) -> bytes:
    """An index as text. Raises PartError where it is no archive of its kind."""
    try:
        return read(content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise PartError(f"{url} cannot be unpacked: {error}") from None


def inside(place: str, name: str) -> str:
    """A file that an index at `place` names, as a plain path below it. Raises PartError for others."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise PartError(f"{place} lists the file '{name}', which is no place below it")
    return str(path)
