"""Reading YAML without losing where each value stood, so that errors can name the line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ollama_fleet.problems import InputError, Problem

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlFile:
    """A parsed YAML file: its value, and the line of every key and item in it (from 1)."""

    source: str
    value: Any
    lines: dict[Loc, int] = field(default_factory=dict)

    def line_of(self, loc: Loc) -> int | None:
        """Line of `loc`, or of the nearest thing around it that stands in the file."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc)


def read_yaml(path: Path) -> YamlFile:
    """Read one YAML document.

    Raises InputError when the file is missing, not UTF-8, not YAML, or names a key twice
    (PyYAML would silently keep the last one).
    """
    source = str(path)
    try:
        value, walker = _read(source, path.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise InputError([Problem(source, "", what)]) from None
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
        raise InputError([Problem(source, "", what)]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError([_syntax_problem(source, error)]) from None
    if walker.repeated:
        raise InputError(walker.repeated)
    return YamlFile(source, value, walker.lines)


def spell(loc: Loc) -> str:
    """`("hosts", "a", "slices", 2)` as `hosts.a.slices[2]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _read(source: str, text: str) -> tuple[Any, "_Walker"]:
    """The value, and what was seen on the way. Parsed once: that takes nearly all the time."""
    loader, walker = yaml.SafeLoader(text), _Walker(source)
    try:
        node = loader.get_single_node()
        walker.walk(node)  # as it was written; construction resolves merge keys in place
        return None if node is None else loader.construct_document(node), walker
    finally:
        loader.dispose()


def _syntax_problem(source: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error) or type(error).__name__
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    hint = "; YAML is indented with spaces, never tabs" if "'\\t'" in what else ""
    return Problem(source, "", f"is not valid YAML: {what}{hint}", line, column)


class _Walker:
    """Collects the line of every key and item, and the keys that stand twice."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[Loc, int] = {}
        self.repeated: list[Problem] = []
        self._visited: set[int] = set()

    def walk(self, node: yaml.Node | None, loc: Loc = ()) -> None:
        # An alias is the very node of its anchor: visiting each once bounds hostile documents.
        if node is None or id(node) in self._visited:
            return
        self._visited.add(id(node))
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.walk(item, (*loc, index))
        elif isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, loc)

    def _walk_mapping(self, node: yaml.MappingNode, loc: Loc) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen and name != "<<":
                what = f"appears twice, first in line {seen[name]}; keep one"
                self.repeated.append(Problem(self.source, spell((*loc, name)), what, line))
            seen[name] = line
            self.lines[(*loc, name)] = line
            self.walk(value, (*loc, name))
