"""The files that custom models name on this machine: found, looked at, and texts put in their place.

Reads headers and texts, and never whole weights; knows no host. What is not as it has to be is left
for `spec` to refuse.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from ollama_fleet.catalogue import GgufError, read_gguf
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.custom import URL_STARTS
from ollama_fleet.spec.known import full_model_name
from ollama_fleet.yamlfile import Loc, YamlFile, spell

TEXTS = ("system", "template")
LARGEST_TEXT_BYTES = 2**20


def with_custom_files(file: YamlFile) -> YamlFile:
    """The inventory `file` with full paths, texts instead of the files that hold them, and what each
    GGUF file says of itself as a model of the catalogue, unless that has one of this name.

    Files lie relative to the inventory. Raises InputError with every one that cannot be used.
    """
    if not any(True for _ in _customs(file.value)):
        return file
    value, problems = deepcopy(file.value), list[Problem]()
    folder = Path(file.source).parent
    for name, spec in _customs(value):
        for key, use in (("gguf", _weights), *((f"{text}_file", _text) for text in TEXTS)):
            given = spec.get(key)
            if not isinstance(given, str) or given.startswith(URL_STARTS):
                continue
            path = (folder / Path(given).expanduser()).absolute()
            try:
                use(value, name, key, path)
            except ValueError as error:
                at: Loc = ("custom_models", name, key)
                what = f"{path} {error}"
                problems.append(Problem(file.source, spell(at), what, file.line_of(at)))
    if problems:
        raise InputError(problems)
    return YamlFile(file.source, value, file.lines)


def _customs(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those entries that have the right shape."""
    found = value.get("custom_models")
    if isinstance(found, dict):
        yield from (
            (name, spec)
            for name, spec in found.items()
            if isinstance(name, str) and isinstance(spec, dict)
        )


def _weights(value: dict[str, Any], name: str, key: str, path: Path) -> None:
    try:
        if not path.is_file():
            raise ValueError("is no file here; it has to lie on the machine that deploys")
        model = read_gguf(path, name)
    except GgufError as error:
        raise ValueError(f"is no model: {error}") from None
    value["custom_models"][name][key] = str(path)
    own = value.setdefault("catalogue", {})
    listed = own.setdefault("models", []) if isinstance(own, dict) else None
    if isinstance(listed, list) and not any(_is_called(one, name) for one in listed):
        listed.append(model.model_dump(mode="json"))


def _is_called(entry: Any, name: str) -> bool:
    """Whether somebody described the model under `catalogue:`."""
    tag = entry.get("tag") if isinstance(entry, dict) else None
    return isinstance(tag, str) and full_model_name(tag) == full_model_name(name)


def _text(value: dict[str, Any], name: str, key: str, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_TEXT_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if len(content) > LARGEST_TEXT_BYTES:
        raise ValueError(f"is larger than {LARGEST_TEXT_BYTES // 2**20} MiB; is it the right file?")
    spec = value["custom_models"][name]
    if key.removesuffix("_file") not in spec:
        del spec[key]
        spec[key.removesuffix("_file")] = text
