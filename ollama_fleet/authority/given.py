"""A certificate and its key in files of the user's: read and judged on the machine that deploys."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ollama_fleet.authority.folder import pem_of
from ollama_fleet.authority.leaf import PURPOSES, covers, purposes_of
from ollama_fleet.authority.state import is_signed_by, public_bytes


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its private key in PEM (which no `repr` shows)."""

    chain: tuple[x509.Certificate, ...]
    key: str

    def __repr__(self) -> str:
        return f"Pair({self.chain!r})"

    @property
    def certificates(self) -> str:
        """The chain as PEM."""
        return "".join(map(pem_of, self.chain))


def read_pair(certificate: Path, key: Path) -> Pair:
    """The pair in two files. Raises ValueError with words that name the file and what is wrong with it."""
    try:
        chain = x509.load_pem_x509_certificates(_read(certificate))
    except ValueError as error:
        said = str(error) if str(error).startswith(str(certificate)) else _no(certificate)
        raise ValueError(said) from None
    private = _private_key(key)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if public != public_bytes(chain[0]):
        what = f"{key} is not the key of the first certificate in {certificate}"
        if any(public == public_bytes(other) for other in chain[1:]):
            what += "; put the server's own certificate first, then its chain"
        raise ValueError(what)
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(tuple(chain), text.decode())


def unfit(chain: Iterable[x509.Certificate], names: Iterable[str], now: datetime) -> Iterator[str]:
    """Why clients that call `names` would refuse to be served with this, in words that go on from its
    file's name."""
    first, *rest = chain
    if first.not_valid_after_utc <= now:
        yield f"ended on {first.not_valid_after_utc:%Y-%m-%d}; put the renewed one there"
    if first.not_valid_before_utc > now:
        yield f"is valid from {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only; wait, or see the clock"
    if (wanted := purposes_of(first)) and PURPOSES["server"] not in wanted:
        yield "is not for a server (extended key usage); ask for one that is"
    missing = [name for name in names if not covers(first, name)]
    if missing:
        yield f"is not for {', '.join(missing)}; ask for one that is, or drop it from `names:`"
    for lower, upper in zip([first, *rest], rest, strict=False):
        if not is_signed_by(lower, upper):
            yield "has a chain in another order; each certificate must be followed by its issuer's"
            return


def _private_key(path: Path) -> "serialization.PrivateKeyTypes":  # type: ignore[name-defined]
    try:
        return serialization.load_pem_private_key(_read(path), None)
    except TypeError:
        raise ValueError(
            f"{path} is locked by a passphrase, which no service could give; unlock it: "
            f"`openssl pkey -in {path.name} -out unlocked.key`"
        ) from None
    except ValueError as error:
        said = (
            str(error) if str(error).startswith(str(path)) else f"{path} is no private key in PEM"
        )
        raise ValueError(said) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _no(path: Path) -> str:
    return f"{path} holds no certificate in PEM"
