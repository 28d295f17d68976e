"""`fleet docs`: reference pages made from the program itself."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from ollama_fleet.cli.ending import EXIT_CODES, JsonOption, answering, print_json


def docs(
    page: Annotated[
        Literal["cli", "recommend"], typer.Argument(help="Which page: docs/<page>.md.")
    ] = "cli",
    json: JsonOption = False,
) -> None:
    """Print a page of the documentation, made from the program: fleet docs cli > docs/cli.md

    JSON: page and text.
    """
    with answering(json):
        text = cli_page() if page == "cli" else _recommend_page()
        if json:
            print_json({"page": page, "text": text})
        else:
            print(text)


def cli_page() -> str:
    """Every verb of `fleet` with its help, arguments and options."""
    from ollama_fleet.cli.app import VERBS

    lines = [
        "# The fleet command",
        "",
        "Made by `fleet docs cli` from the program. Every verb takes `--json`: its keys stay as they",
        "are, and an error is `{error, nearest, exit_code}` on standard output. Otherwise errors go",
        "to standard error.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        *(f"- [fleet {name}](#fleet-{name.replace(' ', '-')})" for name in VERBS),
    ]
    for name, verb in VERBS.items():
        lines += ["", f"## fleet {name}", "", *_verb(name, verb)]
    return "\n".join(lines)


def _verb(name: str, verb: Callable[..., None]) -> Iterator[str]:
    params = list(_params(verb))
    arguments = [param.shown for param in params if param.argument]
    yield from ("```sh", " ".join(["fleet", name, *arguments, "[OPTIONS]"]), "```", "")
    yield from inspect.cleandoc(verb.__doc__ or "").splitlines()
    yield from ("", "| | | default |", "|---|---|---|")
    yield from (f"| `{param.shown}` | {param.help} | {param.default} |" for param in params)


@dataclass(frozen=True)
class Param:
    """One argument or option of a verb, as the page shows it."""

    shown: str
    help: str
    default: str
    argument: bool


def _params(verb: Callable[..., None]) -> Iterator[Param]:
    hints = get_type_hints(verb, include_extras=True)
    for name, given in inspect.signature(verb).parameters.items():
        kind, info = get_args(hints[name])[:2]
        argument, required = isinstance(info, ArgumentInfo), given.default is given.empty
        yield Param(
            shown=_shown(name, kind, info, argument, required),
            help=f"{info.help}{_choices(kind)}",
            default="**required**" if required else _default(given.default),
            argument=argument,
        )


def _shown(name: str, kind: Any, info: Any, argument: bool, required: bool) -> str:
    if argument:
        plain = (info.metavar or name).strip("[]").upper()
        return plain if required else f"[{plain}]"
    # Where Typer finds an option's own name: before or after it has sorted its arguments.
    names = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
    option = next((one for one in names if one.startswith("--")), "")
    flag = kind is bool or bool in get_args(kind)
    if flag:
        return option or f"--{name.replace('_', '-')}/--no-{name.replace('_', '-')}"
    return f"{option or '--' + name.replace('_', '-')} {name.upper()}"


def _choices(kind: Any) -> str:
    """The values that an option takes, where it takes a few."""
    parts = (kind, *get_args(kind))
    choices = next((get_args(part) for part in parts if get_origin(part) is Literal), ())
    return " One of " + ", ".join(f"`{one}`" for one in choices) + "." if choices else ""


def _default(value: object) -> str:
    return "" if value in (None, False, "") else f"`{value}`"


def _recommend_page() -> str:
    from ollama_fleet.report.recommend_page import recommend_page

    return recommend_page()
