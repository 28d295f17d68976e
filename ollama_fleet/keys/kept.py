"""The file of API keys beside an inventory: read with every deploy, changed by `fleet key`.

`prod.keys.yml` beside `prod.yml`. Two changes at the same time wait for each other, and a change is
there whole or not at all.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ollama_fleet.keys.spec import VERSION, KeysFile, KeySpec
from ollama_fleet.model_errors import problems_in
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.yamlfile import YamlFile, read_yaml

HEAD = """\
# API keys of {inventory}, written by `fleet key`. It holds hashes, no keys: nobody can call the gateway
# with it. `fleet key list` shows it; what you change by hand holds from the next deploy on.
"""
# libyaml where the wheel has it: ten times as fast, which ten thousand keys need.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def keys_path_of(inventory: Path) -> Path:
    """Where the keys of `prod.yml` or `prod.py` are kept."""
    return inventory.with_suffix(".keys.yml")


def read_keys(inventory: Path) -> dict[str, KeySpec]:
    """All keys by name, revoked ones too; none where there is no file.

    Raises InputError with everything that is wrong in it.
    """
    path = keys_path_of(inventory)
    if not path.exists():
        return {}
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError):
        text = path.read_text(encoding="utf-8")
        return dict(KeysFile.model_validate(yaml.load(text, _OnceLoader)).keys)
    return dict(_with_lines(path).keys)


def keys_in_force(inventory: Path) -> tuple[ApiKey, ...]:
    """What gateways are told: every key but the revoked. Raises InputError."""
    return tuple(
        spec.as_known(name) for name, spec in read_keys(inventory).items() if spec.revoked is None
    )


def revoked_keys(inventory: Path) -> tuple[str, ...]:
    """The names of those that were revoked. Raises InputError."""
    return tuple(name for name, spec in read_keys(inventory).items() if spec.revoked is not None)


@contextmanager
def changing_keys(inventory: Path) -> Iterator[dict[str, KeySpec]]:
    """All keys, to be changed: written when the block ends well. Another change waits until then.

    Raises InputError for what may not be written.
    """
    path = keys_path_of(inventory).resolve()  # a link stays one
    with _alone(path.with_name(f".{path.name}.lock")):
        keys = read_keys(inventory)
        before = dict(keys)
        yield keys
        if keys != before:
            content = {name: key.model_dump() for name, key in keys.items()}
            _write(path, checked(str(path), content), inventory.name)


def checked(source: str, keys: Mapping[str, Any]) -> KeysFile:
    """Keys as the file would hold them. Raises InputError, where `source` says who wants them."""
    value = {"version": VERSION, "keys": dict(keys)}
    try:
        return KeysFile.model_validate(value)
    except ValidationError as error:
        raise InputError(problems_in(error, YamlFile(source, value), KeysFile)) from None


class _OnceLoader(_Loader):  # type: ignore[misc]
    """Refuses a key that stands twice; PyYAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if len(set(map(str, names))) < len(names):
            raise yaml.YAMLError("a key stands twice")
        return dict(super().construct_mapping(node, deep))


def _with_lines(path: Path) -> KeysFile:
    """The slow way, whose errors know their lines."""
    file = read_yaml(path)
    if not isinstance(file.value, dict):
        what = "holds no keys; it must be a mapping with `version: 1` and `keys:`"
        raise InputError([Problem(str(path), "", what)])
    try:
        return KeysFile.model_validate(file.value)
    except ValidationError as error:
        raise InputError(problems_in(error, file, KeysFile)) from None


def _write(path: Path, file: KeysFile, inventory: str) -> None:
    """Write the file, for its owner alone: whole, and on disk before it takes the old one's place."""
    value = file.model_dump(exclude_none=True)
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # 0600
    staged = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(HEAD.format(inventory=inventory) + text)
            stream.flush()
            os.fsync(stream.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Nobody else has `lock` meanwhile; it is gone afterwards."""
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):  # whoever had it has taken it away
            if os.path.samestat(os.fstat(handle), lock.stat()):
                break
        os.close(handle)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)
