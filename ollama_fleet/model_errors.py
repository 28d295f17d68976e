"""pydantic's errors in the words of the house: each with its line in the file, and what to do."""

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ollama_fleet.problems import Problem
from ollama_fleet.yamlfile import Loc, YamlFile, spell


def problems_in(error: ValidationError, file: YamlFile, root: type[BaseModel]) -> list[Problem]:
    """Everything wrong in a `file` that was to be a `root`."""
    return [_problem(file, detail, root) for detail in _distinct(error, root)]


def _distinct(error: ValidationError, root: type[BaseModel]) -> list[ErrorDetails]:
    """One error per place: a union reports each of its members."""
    seen: dict[Loc, ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        seen.setdefault(_place(detail, root), detail)
    return list(seen.values())


def _place(detail: ErrorDetails, root: type[BaseModel]) -> Loc:
    """Where the error is, without the names that pydantic adds for union members and map keys."""
    kept: Loc = ()
    known: Any = root
    for number, part in enumerate(detail["loc"], start=1):
        below = _inside(known, part)
        if below is not None:
            kept, known = (*kept, part), below
        elif number == len(detail["loc"]) and detail["type"] == "extra_forbidden":
            kept = (*kept, part)
    return kept + tuple(detail.get("ctx", {}).get("at", ()))


def _problem(file: YamlFile, detail: ErrorDetails, root: type[BaseModel]) -> Problem:
    place = _place(detail, root)
    return Problem(file.source, spell(place), _words(detail, place, root), file.line_of(place))


def _words(detail: ErrorDetails, place: Loc, root: type[BaseModel]) -> str:
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(place, root)
    if kind == "missing":
        return "is missing; add it"
    if kind == "rule":
        return str(detail["ctx"]["what"])
    if kind == "string_pattern_mismatch":
        return f"{given!r} does not have the form {detail['ctx']['pattern']}"
    said = detail["msg"][0].lower() + detail["msg"][1:]
    shown = "" if isinstance(given, dict | list) else f", not {given!r}"
    return f"{said}{shown}".replace("input should", "should")


def _unknown_key(place: Loc, root: type[BaseModel]) -> str:
    model: Any = root
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
