"""Reads the header of a GGUF file in bounded time and memory, whatever the file says.

The `gguf` package's own reader maps the file and believes its counts and lengths, so it is used for
its constants only (docs/decisions/gguf-header.md). Imports none of ours.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ollama_fleet.catalogue.ggml import GgufError, shown, tensor_bytes

# The largest real ones: 15 MB of header, 60 keys, 2000 tensors, 262144 tokens, 515 000 merges.
MOST_HEADER_BYTES = 64 * 2**20
MOST_KEYS = 4096
MOST_TENSORS = 20_000
MOST_ELEMENTS = 2_000_000  # of all arrays together
MOST_KEPT = 4096  # longer arrays are counted, not kept
MOST_STRING_BYTES = 2**20
MOST_NAME_BYTES = 1024
MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class Counted:
    """An array that was too long to keep, or of strings: only its length is known."""

    count: int


Value: TypeAlias = int | float | bool | str | tuple[int | float | bool, ...] | Counted


@dataclass(frozen=True)
class Tensor:
    """One tensor: its elements and the bytes that they take in the file."""

    name: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What stands before the data of a GGUF file."""

    keys: dict[str, Value]
    tensors: tuple[Tensor, ...]
    file_bytes: int


def read_header(path: Path) -> Header:
    """The header of a file; GgufError if it is truncated, damaged or absurd."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _header(_Cursor(file, size))
    except OSError as error:
        raise GgufError(f"{path.name} cannot be read: {error.strerror or error}") from error


class _Cursor:
    """Reads forward, never further than the file or the limit on a header."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self.file, self.file_bytes, self.at, self.elements = file, file_bytes, 0, 0

    def take(self, count: int) -> bytes:
        self._advance(count)
        return self.file.read(count)

    def skip(self, count: int) -> None:
        self._advance(count)
        self.file.seek(self.at)

    def ahead(self) -> bytes:
        """The next bytes, without going on."""
        block = self.file.read(2**16)
        self.file.seek(self.at)
        return block

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0])

    def text(self, most: int, what: str) -> str:
        length = self.number("Q")
        if length > most:
            raise GgufError(f"{what} at byte {self.at} claims {length} bytes; {most} are allowed")
        return self.take(length).decode("utf-8", "replace")

    def _advance(self, count: int) -> None:
        if self.at + count > self.file_bytes:
            raise GgufError(f"truncated: the header goes on after byte {self.file_bytes}, the end")
        if self.at + count > MOST_HEADER_BYTES:
            raise GgufError(f"the header is longer than {MOST_HEADER_BYTES // 2**20} MiB")
        self.at += count


# GGUFValueType to a struct code; strings and arrays are read otherwise.
SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def _header(cursor: _Cursor) -> Header:
    if cursor.take(min(4, cursor.file_bytes)) != b"GGUF":
        raise GgufError("no GGUF file: it does not begin with 'GGUF'")
    version = cursor.number("I")
    if version not in (2, 3):
        big_endian = version in (2 << 24, 3 << 24)
        raise GgufError(
            "big-endian GGUF" if big_endian else f"GGUF version {version}; 2 and 3 can be read"
        )
    tensor_count = _count(cursor, MOST_TENSORS, "tensors")
    key_count = _count(cursor, MOST_KEYS, "keys")
    keys = _keys(cursor, key_count)
    described = [_described(cursor) for _ in range(tensor_count)]
    tensors = tuple(_sized(*one) for one in described)
    _check_end(cursor, keys, tensors, [one[3] for one in described])
    return Header(keys, tensors, cursor.file_bytes)


def _count(cursor: _Cursor, most: int, what: str) -> int:
    count = cursor.number("Q")
    if count > most:
        raise GgufError(f"the file claims {count} {what}; more than {most} are not believed")
    return count


def _keys(cursor: _Cursor, count: int) -> dict[str, Value]:
    keys: dict[str, Value] = {}
    for _ in range(count):
        name = cursor.text(MOST_NAME_BYTES, "a key")
        if name in keys:
            raise GgufError(f"key {shown(name)} stands twice in the header")
        keys[name] = _value(cursor, name, cursor.number("I"))
    return keys


def _value(cursor: _Cursor, name: str, kind: int) -> Value:
    if kind == STRING:
        return cursor.text(MOST_STRING_BYTES, f"the value of {shown(name)}")
    if kind == ARRAY:
        return _array(cursor, name)
    return _scalar(cursor, name, kind)


def _scalar(cursor: _Cursor, name: str, kind: int) -> int | float | bool:
    code = _code(name, kind)
    value: int | float | bool = struct.unpack(f"<{code}", cursor.take(struct.calcsize(code)))[0]
    return value


def _array(cursor: _Cursor, name: str) -> Value:
    kind, count = cursor.number("I"), cursor.number("Q")
    cursor.elements += count
    if cursor.elements > MOST_ELEMENTS:
        raise GgufError(f"{shown(name)} claims {count} elements; {MOST_ELEMENTS} are allowed")
    if kind == STRING:
        _skip_strings(cursor, name, count)
        return Counted(count)
    code = _code(name, kind)
    width = struct.calcsize(code)
    if count > MOST_KEPT:
        cursor.skip(count * width)
        return Counted(count)
    return struct.unpack(f"<{count}{code}", cursor.take(count * width))


def _skip_strings(cursor: _Cursor, name: str, count: int) -> None:
    """Passes over strings a block at a time: a vocabulary has half a million of them."""
    while count:
        block, at = cursor.ahead(), 0
        while count and at + 8 <= len(block):
            (length,) = struct.unpack_from("<Q", block, at)
            if length > MOST_STRING_BYTES:
                raise GgufError(f"a string in {shown(name)} claims {length} bytes")
            at, count = at + 8 + length, count - 1
        cursor.skip(max(at, 8))


def _code(name: str, kind: int) -> str:
    if kind not in SCALARS:
        raise GgufError(f"{shown(name)} has a value of unknown type {kind}")
    return SCALARS[kind]


def _described(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, type and offset of one tensor."""
    name = cursor.text(MOST_NAME_BYTES, "a tensor's name")
    dimensions = cursor.number("I")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise GgufError(f"tensor {shown(name)} has {dimensions} dimensions, not 1 to 4")
    shape = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions))
    return name, shape, cursor.number("I"), cursor.number("Q")


def _sized(name: str, shape: tuple[int, ...], kind: int, _offset: int) -> Tensor:
    return Tensor(name, shape, tensor_bytes(name, shape, kind))


def _check_end(
    cursor: _Cursor, keys: dict[str, Value], tensors: tuple[Tensor, ...], offsets: list[int]
) -> None:
    """Every tensor must lie inside the file."""
    alignment = keys.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment not in {2**power for power in range(21)}:
        raise GgufError(f"general.alignment is {alignment}, no power of two")
    start = -(-cursor.at // alignment) * alignment
    for tensor, offset in zip(tensors, offsets, strict=True):
        end = start + offset + tensor.size_bytes
        if end > cursor.file_bytes:
            raise GgufError(
                f"truncated: tensor {shown(tensor.name)} ends at byte {end}, "
                f"the file at {cursor.file_bytes}"
            )
