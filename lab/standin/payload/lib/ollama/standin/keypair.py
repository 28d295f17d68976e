"""The server's Ed25519 key in OpenSSH's format, made at the first start like the real one's."""

import base64
import hashlib
import os
import struct
from pathlib import Path

PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME
BASE_Y = 4 * pow(5, -1, PRIME) % PRIME
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
Point = tuple[int, int, int]  # projective: x/z, y/z

KEY_TYPE = b"ssh-ed25519"


class NoKeyError(Exception):
    """There is no key, and HOME cannot be written."""


def ensure(home: Path) -> None:
    """Make ~/.ollama/id_ed25519 unless it exists."""
    private = home / ".ollama" / "id_ed25519"
    if private.exists():
        return
    try:
        private.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write_pair(private)
    except FileExistsError:  # a server beside us, with the same HOME, was quicker
        return
    except OSError as error:
        reason = f"mkdir {private.parent}: {(error.strerror or '').lower()}"
        raise NoKeyError(f"could not create directory {reason}") from error
    print("Couldn't find a key pair. Generated a new private key.", flush=True)


def _write_pair(private: Path) -> None:
    seed = os.urandom(32)
    public = public_key(seed)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_private_text(seed, public))
    line = b" ".join((KEY_TYPE, base64.b64encode(_string(KEY_TYPE) + _string(public))))
    private.with_suffix(".pub").write_bytes(line + b"\n")


def public_key(seed: bytes) -> bytes:
    """The public half of a seed (RFC 8032, section 5.1.5)."""
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    scalar = int.from_bytes(digest, "little")
    point, power = (0, 1, 1), (BASE_X, BASE_Y, 1)
    while scalar:
        if scalar & 1:
            point = _add(point, power)
        power = _add(power, power)
        scalar >>= 1
    x, y, z = point
    inverse = pow(z, -1, PRIME)
    x, y = x * inverse % PRIME, y * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(p: Point, q: Point) -> Point:
    """Complete addition on the twisted Edwards curve, projective."""
    a = p[2] * q[2] % PRIME
    b, c, d = a * a % PRIME, p[0] * q[0] % PRIME, p[1] * q[1] % PRIME
    e = D * c * d % PRIME
    f, g = b - e, b + e
    x = a * f * ((p[0] + p[1]) * (q[0] + q[1]) - c - d) % PRIME
    return x, a * g * (d + c) % PRIME, f * g % PRIME


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _private_text(seed: bytes, public: bytes) -> bytes:
    blob = _string(KEY_TYPE) + _string(public)
    check = os.urandom(4)
    secret = check + check + blob + _string(seed + public) + _string(b"")
    secret += bytes(range(1, 1 + -len(secret) % 8))
    head = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"")
    text = base64.encodebytes(head + struct.pack(">I", 1) + _string(blob) + _string(secret))
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + text + b"-----END OPENSSH PRIVATE KEY-----\n"
