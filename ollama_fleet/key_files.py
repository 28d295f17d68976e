"""Public keys of repositories out of files that an inventory names: `key: FILE` becomes its content.

Reads those files, which lie beside the inventory, on the machine that deploys; a host gets the text.
"""

import base64
from pathlib import Path
from typing import TypeVar

from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.yamlfile import Loc, YamlFile, spell

ARMOUR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
# First byte of a binary key: the public-key packet, in the old formats and the new one.
BINARY = (b"\x98", b"\x99", b"\x9a", b"\xc6")
LARGEST_BYTES = 64 * 1024
BLOCKS = ("driver", "container_toolkit")

Level = TypeVar("Level", Fleet, HostSpec)


def with_keys(file: YamlFile, fleet: Fleet) -> Fleet:
    """`fleet` with the content of each key file, base64-coded, in place of its name.

    Raises InputError with every file that is no public key.
    """
    problems: list[Problem] = []
    hosts = {
        name: _read(file, ("hosts", name), spec, problems) for name, spec in fleet.hosts.items()
    }
    found = _read(file, (), fleet, problems).model_copy(update={"hosts": hosts})
    if problems:
        raise InputError(problems)
    return found


def _read(file: YamlFile, at: Loc, level: Level, problems: list[Problem]) -> Level:
    """A fleet or a host with its keys read; what is wrong with them goes to `problems`."""
    read = {}
    for block in BLOCKS:
        spec = getattr(level, block)
        if spec.key is None:
            continue
        path = Path(file.source).parent / Path(spec.key).expanduser()
        try:
            key = base64.b64encode(read_key(path)).decode()
            read[block] = spec.model_copy(update={"key": key})
        except ValueError as error:
            place = (*at, block, "key")
            what = f"{path} {error}"
            problems.append(Problem(file.source, spell(place), what, file.line_of(place)))
    return level.model_copy(update=read)


def read_key(path: Path) -> bytes:
    """A public key, ASCII-armoured or binary. Raises ValueError with words that go on from its name."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if b"PRIVATE KEY BLOCK" in content:
        raise ValueError("holds a private key; give the public one (`gpg --export`)")
    if len(content) > LARGEST_BYTES or not (ARMOUR in content or content.startswith(BINARY)):
        raise ValueError(
            "is no OpenPGP public key, as `gpg --export` or a repository's key file is"
        )
    return content
