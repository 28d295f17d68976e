"""Keys as files: fingerprints as GnuPG tells them, and signatures."""

from pathlib import Path

import pytest

from ollama_fleet.pgp import BadKeyError, fingerprints, is_signed
from tests.unit.bundle_sources import Signer


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "home").make()


@pytest.mark.parametrize("armour", [(), ("--armor",), ("--armor", "--comment", "a: b")])
def test_a_key_has_the_fingerprint_that_gnupg_tells(
    signer: Signer, armour: tuple[str, ...]
) -> None:
    assert fingerprints(signer.public(*armour)) == [signer.fingerprint()]


def test_two_keys_in_a_file_are_two(signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path / "other").make()
    both = signer.public("--armor") + other.public("--armor")
    assert fingerprints(both) == [signer.fingerprint(), other.fingerprint()]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\x99\x01\x0d\x04",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n",
        b"\xff\x00",
    ],
)
def test_what_is_no_key_is_said(content: bytes) -> None:
    with pytest.raises(BadKeyError):
        fingerprints(content)


def test_a_signature_is_told_from_another_s(signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path / "other").make()
    signed = signer.clearsign(b"words\n")
    assert is_signed(signed, signer.public())
    assert is_signed(signed, signer.public("--armor"))
    assert not is_signed(signed, other.public())
    assert not is_signed(signed.replace(b"words", b"swords"), signer.public())
