"""The pins in group_data: which lines of that Python file change, and how it is written.

Finds the two assignments in the syntax tree and rewrites their values only: comments and everything
else stay as they are. Imports none of ours.
"""

import ast
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

TABLE, VERSION = "ollama_pins", "ollama_version"
Pins = dict[str, dict[str, str]]


class PinError(ValueError):
    """A pin that must not be written like this; says what is there, and what to do."""


def read_pins(source: bytes) -> Pins:
    """The table of pins in the text of a group_data file; empty when it has none. Raises PinError."""
    node = _value(source, TABLE)
    found = {} if node is None else _literal(node, TABLE)
    if not isinstance(found, dict) or not all(isinstance(sums, dict) for sums in found.values()):
        raise PinError(f"{TABLE} is no map of versions to checksums; make it {{}} and run again")
    return found


def current_version(source: bytes) -> str | None:
    """The version that hosts run by this text. Raises PinError."""
    node = _value(source, VERSION)
    return None if node is None else str(_literal(node, VERSION))


def pinned(source: bytes, version: str, sums: Mapping[str, str], replace: bool = False) -> bytes:
    """`source` with these checksums as the version's pin; the very same text when it has them.

    Raises PinError when the version is there with others and `replace` is not set.
    """
    pins = read_pins(source)
    before = pins.get(version, {})
    wrong = [arch for arch in sums if before.get(arch, sums[arch]) != sums[arch]]
    if wrong and not replace:
        raise PinError(
            "\n".join(
                f"Ollama {version} for {arch} is pinned as {before[arch]}, this list says {sums[arch]}"
                for arch in wrong
            )
            + "\nA release does not change under its version: find out which of them is right. "
            "If it is the new one: --replace"
        )
    after = dict(sums) if wrong else {**before, **sums}
    if after == before:
        return source
    changed = _with_pin(source, {version: after} | pins | {version: after}, version)
    return _checked(source, changed, TABLE, pins | {version: after})


def with_version(source: bytes, version: str) -> bytes:
    """`source` with this as the version that hosts run. Raises PinError."""
    node = _value(source, VERSION)
    if node is None:
        return _appended(source, f'{VERSION} = "{version}"')
    if _literal(node, VERSION) == version:
        return source
    return _checked(source, _spliced(source, node, f'"{version}"'), VERSION, version)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by another text, with the mode that it has; a reader sees the one or the other."""
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(path.stat().st_mode & 0o7777)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _with_pin(source: bytes, pins: Pins, version: str) -> bytes:
    node = _value(source, TABLE)
    if node is None:
        return _appended(source, f"{TABLE} = {_written(pins)}")
    assert isinstance(node, ast.Dict)  # read_pins has seen to it
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == version:
            return _spliced(source, value, _sums(pins[version]))
    if node.lineno == node.end_lineno:
        return _spliced(source, node, _written(pins))
    start = _offset(source, node.lineno, node.col_offset) + 1
    entry = f"\n    {_entry(version, pins[version])}"
    return source[:start] + _as_in(source, entry) + source[start:]


def _written(pins: Pins) -> str:
    return "{\n" + "".join(f"    {_entry(*item)}\n" for item in pins.items()) + "}"


def _entry(version: str, sums: Mapping[str, str]) -> str:
    return f'"{version}": {_sums(sums)},'


def _sums(sums: Mapping[str, str]) -> str:
    lines = "".join(f'        "{arch}": "{digest}",\n' for arch, digest in sorted(sums.items()))
    return f"{{\n{lines}    }}"


def _value(source: bytes, name: str) -> ast.expr | None:
    """What the file assigns to a name, at its top level, once."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise PinError(f"is no Python file that can be read: {error}") from None
    found: list[ast.expr | None] = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            found.append(node.value)
    if len(found) > 1 or found == [None]:
        raise PinError(f"{name} is to be assigned once, with a value; it is not")
    return found[0] if found else None


def _literal(node: ast.expr, name: str) -> object:
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        raise PinError(
            f"{name} is computed; write it out, so that a program can change it"
        ) from None
    return value


def _spliced(source: bytes, node: ast.expr, text: str) -> bytes:
    assert node.end_lineno is not None and node.end_col_offset is not None
    start = _offset(source, node.lineno, node.col_offset)
    end = _offset(source, node.end_lineno, node.end_col_offset)
    return source[:start] + _as_in(source, text) + source[end:]


def _appended(source: bytes, line: str) -> bytes:
    gap = b"" if not source or source.endswith((b"\n", b"\r")) else b"\n"
    return source + _as_in(source, gap.decode() + line + "\n")


def _as_in(source: bytes, text: str) -> bytes:
    """`text` with the line ends of the file."""
    return (text.replace("\n", "\r\n") if b"\r\n" in source else text).encode()


def _offset(source: bytes, line: int, column: int) -> int:
    """Both as the syntax tree counts: lines from 1, columns in bytes."""
    return sum(map(len, source.splitlines(keepends=True)[: line - 1])) + column


def _checked(source: bytes, changed: bytes, name: str, wanted: object) -> bytes:
    """`changed`, which says what it is to say, and else what `source` says."""
    node = _value(changed, name)
    others = [_others(text, name) for text in (source, changed)]
    if node is None or _literal(node, name) != wanted or others[0] != others[1]:
        raise PinError(f"{name} cannot be rewritten where it stands; put it on lines of its own")
    return changed


def _others(source: bytes, name: str) -> list[str]:
    def is_it(node: ast.stmt) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        return any(isinstance(target, ast.Name) and target.id == name for target in targets)

    return [ast.dump(node) for node in ast.parse(source).body if not is_it(node)]
