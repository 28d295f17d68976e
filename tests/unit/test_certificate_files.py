"""The user's own certificate and key: refused before any host is touched when clients would refuse it."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from ollama_fleet.authority.folder import made_authority
from ollama_fleet.authority.leaf import Leaf, sign
from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError

MAKE = """
openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=a -keyout good.key -out good.pem \\
    -addext subjectAltName=DNS:llm.example.org,DNS:*.wild.example.org
openssl req -newkey rsa:2048 -nodes -subj /CN=a -keyout old.key -out old.csr
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout caller.key -out caller.pem \\
    -addext subjectAltName=DNS:llm.example.org -addext extendedKeyUsage=clientAuth
openssl pkey -in good.key -aes256 -passout pass:x -out locked.key
echo nothing >empty.pem
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    subprocess.run(MAKE, shell=True, cwd=folder, check=True, capture_output=True)
    leaf, long_ago = (
        Leaf("a", ("llm.example.org",), "server"),
        datetime.now(UTC) - timedelta(days=398),
    )
    authority = made_authority(folder / "prod.ca")
    old = sign(authority, (folder / "old.csr").read_text(), leaf, long_ago)
    good = (folder / "good.pem").read_text()
    for name, text in (("old", old), ("upside-down", old + good), ("strange-chain", good + old)):
        (folder / f"{name}.pem").write_text(text)
    return folder


def inventory(folder: Path, certificate: str, key: str, *names: str) -> Path:
    tls = {"source": "files", "certificate": certificate, "key": key}
    gateway = {"names": list(names or ["llm.example.org"]), "tls": tls}
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump({"version": 1, "gateway": gateway, "hosts": {"a": {}}}))
    return path


def test_they_lie_beside_the_inventory_and_their_full_paths_go_on(folder: Path) -> None:
    gateway = load_fleet(inventory(folder, "good.pem", "good.key")).gateway
    assert gateway and gateway.tls.certificate == str(folder / "good.pem")
    assert gateway.tls.key == str(folder / "good.key")


def test_a_wildcard_covers_names_of_one_level(folder: Path) -> None:
    load_fleet(inventory(folder, "good.pem", "good.key", "a.wild.example.org"))
    with pytest.raises(InputError, match=r"is not for a\.b\.wild\.example\.org"):
        load_fleet(inventory(folder, "good.pem", "good.key", "a.b.wild.example.org"))


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("none.pem", "good.key", "tls.certificate: .*none.pem cannot be read: No such file"),
        ("good.pem", "none.key", "tls.key: .*none.key cannot be read"),
        ("empty.pem", "good.key", "tls.certificate: .*holds no certificate in PEM"),
        ("good.pem", "empty.pem", "tls.key: .*is no private key in PEM"),
        ("good.pem", "locked.key", "tls.key: .*is locked by a passphrase.*openssl pkey"),
        ("good.pem", "old.key", "tls.key: .*is not the key of the first certificate"),
        ("upside-down.pem", "good.key", "put the server's own certificate first"),
        ("strange-chain.pem", "good.key", "has a chain in another order"),
        ("old.pem", "old.key", "tls.certificate: .*ended on .*; put the renewed one there"),
        ("caller.pem", "caller.key", "is not for a server"),
    ],
)
def test_what_would_not_serve_is_refused(
    folder: Path, certificate: str, key: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        load_fleet(inventory(folder, certificate, key))
    assert refused.value.problems[0].line
    assert "PRIVATE" not in str(refused.value)


def test_names_that_it_is_not_for_are_said(folder: Path) -> None:
    with pytest.raises(InputError, match=r"is not for ai\.example\.org; ask for one that is"):
        load_fleet(inventory(folder, "good.pem", "good.key", "llm.example.org", "ai.example.org"))
