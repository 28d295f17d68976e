"""What the files of a package hold, from the few forms that payloads.yml knows.

`run`: a thin wrapper of the simulation's program; `text`: that text; `link`: a symbolic link;
`key`: the public half of that signing key; `library`: a shared library without code that the
dynamic linker's tools accept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.packages.recipe import Package
from lab.packages.signing import public_key

PROGRAMS = "/usr/lib/lab"
EXECUTABLE = ("/usr/bin/", "/usr/sbin/", "/usr/libexec/", "/etc/kernel/")


@dataclass(frozen=True)
class File:
    path: str
    content: bytes
    mode: int
    link: str = ""


def contents(package: Package) -> list[File]:
    return [_file(path, form) for path, form in sorted(package.files.items())]


def _file(path: str, form: object) -> File:
    match form:
        case {"run": program, **rest}:
            arguments = f"{rest['arguments']} " if "arguments" in rest else ""
            text = f'#!/bin/sh\nexec {PROGRAMS}/{program} {arguments}"$@"\n'
            return File(path, text.encode(), 0o755)
        case {"link": target}:
            return File(path, b"", 0o777, str(target))
        case {"library": soname}:
            return File(path, library(str(soname)), 0o644)
        case {"key": name}:
            return File(path, public_key(str(name)), 0o644)
        case {"text": text}:
            mode = 0o755 if path.startswith(EXECUTABLE) else 0o644
            return File(path, str(text).encode(), mode)
    raise ValueError(f"{path}: payloads.yml has no form {form}")


def library(soname: str) -> bytes:
    """The smallest 64-bit ELF file from which ldconfig reads a name: headers, names, no code."""
    names = b"\0" + soname.encode() + b"\0"
    header_size, segment_size, segments = 64, 56, 2
    names_at = header_size + segment_size * segments
    dynamic_at = names_at + len(names) + -len(names) % 8
    # DT_STRTAB, DT_STRSZ, DT_SONAME, DT_NULL
    dynamic = struct.pack("<8Q", 5, names_at, 10, len(names), 14, 1, 0, 0)
    size = dynamic_at + len(dynamic)
    magic = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    header = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    where = struct.pack(
        "<IIQQQQQQ", 2, 4, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8
    )
    body = (magic + header + load + where + names).ljust(dynamic_at, b"\0")
    return body + dynamic
