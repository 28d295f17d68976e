"""Rules of custom models within a fleet: their names, what they are made from, their contexts.

Each rule raises `rule_broken` with the place at fault. Imports what is known and the other rules.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet import catalogue
from ollama_fleet.spec.known import Known, Place, all_wishes, custom_of, full_model_name, num_ctx_of
from ollama_fleet.spec.rules import rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

# As Ollama takes it, without a registry: a new model belongs to none. In capital letters it might
# become one that is there in small ones.
NAME = re.compile(
    r"([a-z0-9][a-z0-9_-]{0,79}/)?[a-z0-9][a-z0-9._-]{0,79}(:[a-z0-9][a-z0-9._-]{0,79})?"
)
OURS = "ollama-fleet/"
# How the catalogue says that it knows a name not to exist.
ABSENT = "the library has no"


def custom_rules(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    """What is wrong with the custom models of a fleet, and with who serves them."""
    yield from _names(fleet)
    yield from _bases(fleet, known)
    for at, models, context in _servers(fleet):
        yield from _contexts(fleet, at, models, context)


def _names(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    seen: dict[str, str] = {}
    for name in fleet.custom_models:
        at = ("custom_models", name)
        if not NAME.fullmatch(name) or name.startswith(OURS):
            what = (
                "is no name for a model of your own; write [namespace/]model[:tag] in small letters, "
                "such as support-bot:7b"
            )
            yield rule_broken(at, what)
        other = seen.setdefault(full_model_name(name), name)
        if other != name:
            yield rule_broken(at, f"is the same model as '{other}'; keep one of them")
        if hidden := _hidden(name):
            what = (
                f"would hide the library's {hidden}, and nobody could tell them apart; choose another "
                f"name, such as my-{name}"
            )
            yield rule_broken(at, what)


def _hidden(name: str) -> str | None:
    """The library's model of that name."""
    try:
        return catalogue.find_model(name).tag
    except catalogue.UnknownModel:
        return None


def _bases(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    for name, spec in fleet.custom_models.items():
        if spec.from_ and not custom_of(fleet, spec.from_):
            yield from _exists(("custom_models", name, "from"), spec.from_, known)
        chain, base = [full_model_name(name)], spec.from_
        while base:
            chain.append(full_model_name(base))
            further = custom_of(fleet, base)
            base = further.from_ if further else None
            if chain[-1] in chain[:-1]:
                what = f"{' is made from '.join(chain)}; one of them has to come from elsewhere"
                yield rule_broken(("custom_models", name, "from"), what)
                return


def _exists(at: Place, base: str, known: Known) -> Iterator[PydanticCustomError]:
    try:
        known.model(base)
    except catalogue.UnknownModel as error:
        if str(error).startswith(ABSENT):
            yield rule_broken(at, str(error))


def _servers(fleet: "Fleet") -> Iterator[tuple[Place, Sequence[str], int]]:
    """Whoever serves models: where it is written, which, and with what context."""
    for name, host in fleet.hosts.items():
        for index, item in enumerate(host.slices):
            yield ("hosts", name, "slices", index), item.models, item.context
    for at, wish, _ in all_wishes(fleet):
        yield at, wish.all_models, wish.context


def _contexts(
    fleet: "Fleet", at: Place, models: Sequence[str], context: int
) -> Iterator[PydanticCustomError]:
    """A model's own num_ctx goes before the server's context, and takes other memory than planned."""
    for tag in models:
        owner, num_ctx = num_ctx_of(fleet, tag)
        if num_ctx is not None and num_ctx != context:
            what = (
                f"is {context}, but {owner} has `num_ctx: {num_ctx}`, which requests without options "
                f"would get; write `context: {num_ctx}` here, or drop num_ctx from "
                f"custom_models.{owner}.parameters"
            )
            yield rule_broken((*at, "context"), what)
