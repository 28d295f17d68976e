"""OpenPGP keys as files: their fingerprints, and whether a file is signed by one.

Fingerprints are computed here, so that a key can be judged on a machine without GnuPG. Imports none
of ours.
"""

import base64
import binascii
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PUBLIC_KEY = 6
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(?:[^\n]*: [^\n]*\n)*\s*\n(.*?)\n(?:=[^\n]{4}\s*\n)?"
    rb"-----END PGP PUBLIC KEY BLOCK-----",
    re.S,
)


class BadKeyError(ValueError):
    """What is no OpenPGP public key."""


def binary_key(key: bytes) -> bytes:
    """A key without its ASCII armour, if it has one. Raises BadKeyError."""
    blocks = _ARMOUR.findall(key.replace(b"\r\n", b"\n"))
    if not blocks:
        if key[:1] and key[0] & 0x80:
            return key
        raise BadKeyError("is no OpenPGP key")
    try:
        return b"".join(base64.b64decode(block) for block in blocks)
    except binascii.Error:
        raise BadKeyError("is a damaged OpenPGP key") from None


def fingerprints(key: bytes) -> list[str]:
    """Full fingerprints of the primary keys in a file, in capitals. Raises BadKeyError."""
    found = [_fingerprint(body) for tag, body in _packets(binary_key(key)) if tag == PUBLIC_KEY]
    if not found:
        raise BadKeyError("holds no OpenPGP public key")
    return found


def can_verify() -> bool:
    """Whether signatures can be checked on this machine."""
    return shutil.which("gpgv") is not None


def is_signed(content: bytes, key: bytes, signature: bytes | None = None) -> bool:
    """Whether `content` is signed by `key`: by a signature of its own, or by the one that is in it.
    Needs gpgv."""
    with tempfile.TemporaryDirectory() as folder:
        ring, signed, detached = (Path(folder) / name for name in ("ring", "signed", "signature"))
        ring.write_bytes(binary_key(key))
        signed.write_bytes(content)
        files = [str(signed)]
        if signature is not None:
            detached.write_bytes(signature)
            files.insert(0, str(detached))
        done = subprocess.run(
            ["gpgv", "--quiet", "--homedir", folder, "--keyring", str(ring), *files],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
    return done.returncode == 0


def _fingerprint(body: bytes) -> str:
    if body[:1] != b"\x04":
        raise BadKeyError("is an OpenPGP key of a version that is not known here")
    whole = b"\x99" + len(body).to_bytes(2, "big") + body
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580, 4.2)."""
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise BadKeyError("is a damaged OpenPGP key")
        tag, length, size = _new(data, at) if head & 0x40 else _old(data, at)
        at += 1 + size
        body = data[at : at + length]
        if len(body) < length:
            raise BadKeyError("is an OpenPGP key that was cut off")
        yield tag, body
        at += length


def _old(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, length of the body, and bytes that the length takes."""
    kind = data[at] & 0x03
    if kind == 3:
        return (data[at] & 0x3C) >> 2, len(data) - at - 1, 0
    size = 1 << kind
    return (data[at] & 0x3C) >> 2, int.from_bytes(data[at + 1 : at + 1 + size], "big"), size


def _new(data: bytes, at: int) -> tuple[int, int, int]:
    tag, rest = data[at] & 0x3F, data[at + 1 : at + 6]
    first = rest[0] if rest else 255
    if first < 192:
        return tag, first, 1
    if first < 224 and len(rest) > 1:
        return tag, ((first - 192) << 8) + rest[1] + 192, 2
    if first == 255 and len(rest) > 4:
        return tag, int.from_bytes(rest[1:5], "big"), 5
    raise BadKeyError("is an OpenPGP key in parts")
