"""The fleet's own authority: a folder beside the inventory, `prod.ca` for `prod.yml`.

`ca.pem` may be shown to anybody, and is worth committing. `ca.key` signs: it stays on the machines that
deploy. Both are made once and never overwritten; only a rotation (see `rotation`) puts others in their
place.
"""

import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ollama_fleet.problems import InputError, Problem

CERTIFICATE, KEY = "ca.pem", "ca.key"
NEXT_CERTIFICATE, NEXT_KEY = "next.pem", "next.key"
PREVIOUS = "previous.pem"
RETIRED = "retired-*.pem"
# Of the subject of every authority that we make.
CALLED = "Ollama Fleet authority"
VALID_DAYS = 3650
# A clock of a machine may be late.
BACKDATED = timedelta(hours=1)
IGNORED = (
    "# What signs for the fleet stays out of version control; the rest is worth keeping.\n*.key\n"
)


@dataclass(frozen=True)
class Authority:
    """Who signs for a fleet. `key` is None where only its certificate is on this machine.

    `trusted`: itself, and during a rotation the one that comes or that was before. `retired` were
    trusted once: certificates of theirs are replaced.
    """

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None
    trusted: tuple[x509.Certificate, ...]
    retired: tuple[x509.Certificate, ...] = ()

    @property
    def bundle(self) -> str:
        """Everything that is trusted, as PEM."""
        return "".join(map(pem_of, self.trusted))


def read_authority(folder: Path) -> Authority | None:
    """The authority in `folder`; None where none was made yet. Raises InputError when it is damaged."""
    if not (folder / CERTIFICATE).exists():
        if (folder / KEY).exists():
            raise _problem(folder / CERTIFICATE, f"is missing beside {KEY}; put it back there")
        return None
    certificate = read_certificate(folder / CERTIFICATE)
    coming = [read_certificate(folder / name) for name in _there(folder)]
    retired = [read_certificate(path) for path in sorted(folder.glob(RETIRED))]
    key = read_key(folder / KEY, certificate)
    return Authority(folder, certificate, key, (certificate, *coming), tuple(retired))


def made_authority(folder: Path) -> Authority:
    """The authority in `folder`, made now where there is none. Raises InputError.

    It appears whole or not at all, and of two runs at once the second takes what the first has made.
    """
    found = read_authority(folder)
    if found is None:
        _make(folder)
        found = read_authority(folder)
    if found is None:
        raise _problem(folder, f"has no {CERTIFICATE}; remove the folder, or put its files back")
    return found


def signing(authority: Authority) -> ec.EllipticCurvePrivateKey:
    """Its key. Raises InputError where that is not on this machine."""
    if authority.key is None:
        what = (
            "is not on this machine, and a certificate has to be signed; copy it from where the fleet "
            "was deployed first, or start with another authority (docs/tls.md: a lost key)"
        )
        raise _problem(authority.folder / KEY, what)
    return authority.key


def write_pair(folder: Path, certificate: str, key: str, name: str) -> None:
    """Make an authority, called after `name`, in two files of `folder`: its key first."""
    made, private = new_authority(name)
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(folder / key, text, 0o600)
    _write(folder / certificate, pem_of(made).encode(), 0o644)


def new_authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """An authority called after `name`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Its own name, so that two authorities of one fleet are never taken for each other.
    called = f"{CALLED} {name[:24]} {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "encipher_only", "decipher_only"),
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate in a file. Raises InputError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _problem(path, "is no certificate in PEM; put it back from a copy") from None


def read_key(path: Path, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey | None:
    """The key of `certificate`; None where the file lacks. Raises InputError."""
    if not path.exists():
        return None
    try:
        open_to_others = path.stat().st_mode & 0o077
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from None
    except (TypeError, ValueError):
        raise _problem(path, "is no private key in PEM; put it back from a copy") from None
    if open_to_others:
        raise _problem(path, f"can be read by others; it signs for the fleet: `chmod 600 {path}`")
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise _problem(path, "is not the key of the certificate beside it; put the right one there")
    return key


def pem_of(certificate: x509.Certificate) -> str:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint_of(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate, as openssl prints it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _there(folder: Path) -> list[str]:
    return [name for name in (NEXT_CERTIFICATE, PREVIOUS) if (folder / name).exists()]


def _make(folder: Path) -> None:
    """Beside its place, then moved there: a folder is there whole, or not at all."""
    try:
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _problem(folder, f"cannot be made: {error.strerror}") from None
    try:
        write_pair(staged, CERTIFICATE, KEY, folder.stem)
        _write(staged / ".gitignore", IGNORED.encode(), 0o644)
        staged.rename(folder)
    except OSError as error:
        if not (folder / CERTIFICATE).exists():  # else another run was first
            raise _problem(folder, f"cannot be made: {error.strerror}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write(path: Path, content: bytes, mode: int) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(path)


def _problem(path: Path, what: str) -> InputError:
    return InputError([Problem(str(path), "", what)])
