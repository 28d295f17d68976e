"""How every verb ends: its exit code, its JSON, and a message where others print a traceback."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

WELL, FAILED, BAD_INPUT, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES = {
    WELL: "well",
    FAILED: "a host could not be asked, or a check failed",
    BAD_INPUT: "bad input: a file, an option, an unknown model or GPU",
    REFUSED: "refused by the arithmetic: it does not fit",
    INTERRUPTED: "interrupted",
}

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, also for errors; its keys stay as they are.")
]


class BadOptionError(ValueError):
    """An option that cannot be meant like this; says what can."""


class HostError(Exception):
    """A host could not be asked; says why and what to do."""


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turns every foreseen error of a verb into a message and an exit code."""
    try:
        yield
    except BrokenPipeError:  # `| head` has seen enough
        raise
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        raise fail(_words(error), code, as_json, nearest_to(error)) from None


def fail(what: str, code: int, as_json: bool, nearest: tuple[str, ...] = ()) -> typer.Exit:
    """Says `what` on stderr, or as JSON on stdout; raise what it returns."""
    if as_json:
        print_json({"error": what, "nearest": list(nearest), "exit_code": code})
    else:
        from ollama_fleet.report.text import fit

        print(fit(what), file=sys.stderr)  # names in it may be anybody's
    return typer.Exit(code)


def print_json(value: Any) -> None:
    """`value` for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=sorted))  # sets as lists


def nearest_to(error: Exception) -> tuple[str, ...]:
    """What exists instead of an unknown name."""
    from ollama_fleet.catalogue import UnknownName

    return error.nearest if isinstance(error, UnknownName) else ()


def _code(error: Exception) -> int | None:
    """The exit code of errors that a user's input causes; any other one keeps its traceback."""
    from ollama_fleet.catalogue import GgufError, UnknownName
    from ollama_fleet.planner.refusal import PlanRefusedError
    from ollama_fleet.problems import InputError
    from ollama_fleet.recommend.wish import WishError
    from ollama_fleet.vram import EstimateError

    if isinstance(error, HostError):
        return FAILED
    if isinstance(error, PlanRefusedError):
        return REFUSED
    known = (UnknownName, GgufError, EstimateError, WishError, InputError, BadOptionError, OSError)
    # A MIG profile that the card does not have is a plain LookupError.
    return BAD_INPUT if isinstance(error, known) or type(error) is LookupError else None


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
