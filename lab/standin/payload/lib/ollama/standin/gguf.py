"""The metadata of a GGUF file, read within bounds; tensors and long arrays are skipped."""

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

MAX_KEYS = 4096
MAX_STRING_BYTES = 1 << 20
MAX_ARRAY_ITEMS = 1 << 21
KEPT_ARRAY_ITEMS = 64
STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


class BadGgufError(Exception):
    """The file is not a GGUF file that we can read."""


def metadata(path: Path) -> dict[str, Any]:
    """The key/value pairs of the header (arrays longer than 64 items as None)."""
    found = path.stat()
    return _of_content(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _of_content(path: Path, _size_bytes: int, _modified_ns: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return _read(file)
    except (struct.error, UnicodeDecodeError, RecursionError) as error:
        raise BadGgufError(f"invalid file: {error}") from error


def _read(file: BinaryIO) -> dict[str, Any]:
    if file.read(4) != b"GGUF":
        raise BadGgufError("invalid file magic")
    version = _scalar(file, "I")
    _scalar(file, "Q")  # number of tensors
    keys = _scalar(file, "Q")
    if version not in (2, 3) or keys > MAX_KEYS:
        raise BadGgufError(f"unsupported version {version} or {keys} keys")
    return {_string(file): _value(file, _scalar(file, "I")) for _ in range(keys)}


def _scalar(file: BinaryIO, code: str) -> Any:
    size = struct.calcsize("<" + code)
    return struct.unpack("<" + code, file.read(size))[0]


def _string(file: BinaryIO) -> str:
    length = _scalar(file, "Q")
    if length > MAX_STRING_BYTES:
        raise BadGgufError(f"string of {length} bytes")
    return file.read(length).decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        return _array(file)
    if kind not in SCALARS:
        raise BadGgufError(f"unknown value type {kind}")
    return _scalar(file, SCALARS[kind])


def _array(file: BinaryIO) -> list[Any] | None:
    kind, length = _scalar(file, "I"), _scalar(file, "Q")
    if length > MAX_ARRAY_ITEMS:
        raise BadGgufError(f"array of {length} items")
    if kind in SCALARS and length > KEPT_ARRAY_ITEMS:
        file.seek(length * struct.calcsize("<" + SCALARS[kind]), 1)
        return None
    items = [_value(file, kind) for _ in range(length)]
    return items if length <= KEPT_ARRAY_ITEMS else None
