"""An inventory file to a validated `Fleet`; the only place where its errors get their words."""

import difflib
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ollama_fleet.custom_files import with_custom_files
from ollama_fleet.key_files import with_keys
from ollama_fleet.layout_files import with_layouts
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec import Fleet
from ollama_fleet.yamlfile import Loc, YamlFile, read_yaml, spell


def load_fleet(path: Path) -> Fleet:
    """Read and validate `path`. Raises InputError with every problem found."""
    return validate(read_yaml(path))


def validate(file: YamlFile) -> Fleet:
    """Check a parsed inventory. Raises InputError with every problem found.

    Files that it needs for that, which lie beside it, are read.
    """
    if not isinstance(file.value, dict):
        what = "holds no inventory; it must be a mapping with `version: 1` and `hosts:`"
        raise InputError([Problem(file.source, "", what)])
    file = with_custom_files(file)
    fleet = _fleet(file)
    if any(host.mig_parted for host in fleet.hosts.values()):
        fleet = _fleet(with_layouts(file, fleet))
    return with_keys(file, fleet)


def _fleet(file: YamlFile) -> Fleet:
    try:
        return Fleet.model_validate(file.value)
    except ValidationError as error:
        raise InputError([_problem(file, detail) for detail in _distinct(error)]) from None


def _distinct(error: ValidationError) -> list[ErrorDetails]:
    """One error per place: a union reports each of its members."""
    seen: dict[Loc, ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        seen.setdefault(_place(detail), detail)
    return list(seen.values())


def _place(detail: ErrorDetails) -> Loc:
    """Where the error is, without the names that pydantic adds for union members and map keys."""
    kept: Loc = ()
    known: Any = Fleet
    for number, part in enumerate(detail["loc"], start=1):
        below = _inside(known, part)
        if below is not None:
            kept, known = (*kept, part), below
        elif number == len(detail["loc"]) and detail["type"] == "extra_forbidden":
            kept = (*kept, part)
    return kept + tuple(detail.get("ctx", {}).get("at", ()))


def _problem(file: YamlFile, detail: ErrorDetails) -> Problem:
    place = _place(detail)
    return Problem(file.source, spell(place), _words(detail, place), file.line_of(place))


def _words(detail: ErrorDetails, place: Loc) -> str:
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "missing":
        return "is missing; add it"
    if kind == "rule":
        return str(detail["ctx"]["what"])
    if kind == "string_pattern_mismatch":
        return f"{given!r} does not have the form {detail['ctx']['pattern']}"
    said = detail["msg"][0].lower() + detail["msg"][1:]
    shown = "" if isinstance(given, dict | list) else f", not {given!r}"
    return f"{said}{shown}".replace("input should", "should")


def _unknown_key(place: Loc) -> str:
    model: Any = Fleet
    for part in place[:-1]:
        model = _inside(model, part)
    fields = [
        one for kind in _options(model) if _is_model(kind) for one in kind.model_fields.items()
    ]
    known = sorted(field.alias or name for name, field in fields)
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
    return f"unknown key; {hint}"


def _inside(kind: Any, part: str | int) -> Any:
    """The type found under `part` of a value of type `kind`; None when there is none."""
    for option in _options(kind):
        if _is_model(option):
            for name, field in option.model_fields.items():
                if part == (field.alias or name):
                    return field.annotation
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is list and isinstance(part, int):
            return arguments[0]
        if origin is dict:
            return arguments[1]
    return None


def _options(kind: Any) -> list[Any]:
    """Members of a union, free of `Annotated`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _options(arguments[0])
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return [option for member in arguments for option in _options(member)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
