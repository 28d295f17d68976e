"""Keys that sign the package world, one per public original; made once per machine and kept."""

from __future__ import annotations

from pathlib import Path

from lab.keys import gpg_home
from lab.state import CACHE

KEYS = CACHE / "signing-keys"


def public_key(name: str) -> bytes:
    """In binary form, as apt's keyrings have it."""
    return (_ensured(name) / "public.gpg").read_bytes()


def armored_key(name: str) -> bytes:
    """As text, as it is offered for download."""
    return (_ensured(name) / "public.asc").read_bytes()


def secret_key(name: str) -> Path:
    return _ensured(name) / "secret.asc"


def fingerprint(name: str) -> str:
    """40 hex digits."""
    return (_ensured(name) / "fingerprint").read_text().strip()


def _ensured(name: str) -> Path:
    directory = KEYS / name
    if (directory / "fingerprint").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    KEYS.chmod(0o700)
    with gpg_home() as gpg:
        identity = f"Lab stand-in for {name} <lab@localhost>"
        gpg("--passphrase", "", "--quick-generate-key", identity, "rsa2048", "sign", "never")
        (directory / "secret.asc").write_bytes(gpg("--armor", "--export-secret-keys"))
        (directory / "public.asc").write_bytes(gpg("--armor", "--export"))
        (directory / "public.gpg").write_bytes(gpg("--export"))
        listing = gpg("--with-colons", "--list-keys").decode().splitlines()
        number = next(line.split(":")[9] for line in listing if line.startswith("fpr:"))
        (directory / "fingerprint").write_text(f"{number}\n")
    return directory
