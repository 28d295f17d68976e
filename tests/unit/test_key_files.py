"""Repository keys out of files beside the inventory."""

import base64
from pathlib import Path

import pytest

from ollama_fleet.load import load_fleet
from ollama_fleet.planner.provision import provision_of
from ollama_fleet.problems import InputError

ARMOURED = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n"
TEXT = """version: 1
driver: {key: fleet.asc}
container_toolkit: {key: keys/toolkit.gpg}
hosts:
  one: {driver: {key: one.asc}}
  two: {}
"""


def write(folder: Path, **keys: bytes) -> Path:
    (folder / "keys").mkdir(exist_ok=True)
    found = {"fleet": ARMOURED, "one": ARMOURED + b"\n", "toolkit": b"\x99\x01\x0d"} | keys
    (folder / "fleet.asc").write_bytes(found["fleet"])
    (folder / "one.asc").write_bytes(found["one"])
    (folder / "keys/toolkit.gpg").write_bytes(found["toolkit"])
    path = folder / "prod.yml"
    path.write_text(TEXT)
    return path


def test_key_files_are_read_where_the_deploy_starts(tmp_path: Path) -> None:
    fleet = load_fleet(write(tmp_path))
    one, two = (provision_of(fleet, fleet.hosts[name]) for name in ("one", "two"))
    assert one.driver.key == base64.b64encode(ARMOURED + b"\n").decode()
    assert two.driver.key == base64.b64encode(ARMOURED).decode()
    assert two.toolkit.key == base64.b64encode(b"\x99\x01\x0d").decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>not found</html>", "is no OpenPGP public key"),
        (b"", "is no OpenPGP public key"),
        (ARMOURED + b" " * 70_000, "is no OpenPGP public key"),
        (ARMOURED.replace(b"PUBLIC", b"PRIVATE"), "holds a private key"),
    ],
)
def test_a_file_that_is_no_public_key_is_refused_with_its_place(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_fleet(write(tmp_path, one=content))
    (problem,) = refused.value.problems
    assert problem.where == "hosts.one.driver.key" and problem.line == 5
    assert words in problem.what and "one.asc" in problem.what


def test_every_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    for name in ("fleet.asc", "keys/toolkit.gpg"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError) as refused:
        load_fleet(path)
    assert [item.where for item in refused.value.problems] == [
        "driver.key",
        "container_toolkit.key",
    ]
    assert "No such file" in refused.value.problems[0].what
