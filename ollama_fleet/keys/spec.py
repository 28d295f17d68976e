"""The file of API keys as a person reads it: what it may say, and the rules between its keys.

Much of it ends in nginx's configuration, so the forms are strict.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.spec.known import full_model_name
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Model, Name, Spec

VERSION = 1
# Each is a zone of nginx's shared memory, and asked for with every request.
MOST_LIMITS = 64
# nginx reads no longer word (4096 bytes).
MOST_MODEL_BYTES = 4000
MOST_REQUESTS = 1_000_000


def _rate_form(text: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]{0,6})/([sm])", text)
    if not found or int(found[1]) > MOST_REQUESTS:
        what = f"'{text}' is no rate; say requests per second or minute, such as 5/s or 60/m"
        raise rule_broken((), what)
    return text


def _not_too_many(models: list[str]) -> list[str]:
    length = len(" ".join(map(full_model_name, models)).encode())
    if length > MOST_MODEL_BYTES:
        what = (
            f"takes {length} bytes, and nginx reads {MOST_MODEL_BYTES}; leave `models` out for all, or "
            "make two keys of it"
        )
        raise rule_broken((), what)
    return models


Rate = Annotated[str, AfterValidator(_rate_form)]


class KeySpec(Spec):
    """One API key: its hash, and what its holder may do."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of the key, in hex; the key itself is kept nowhere."
    )
    models: Annotated[list[Model], Field(min_length=1), AfterValidator(_not_too_many)] | None = (
        Field(None, description="Models that it may call; default: all.")
    )
    rate: Rate | None = Field(
        None, description="Requests per second or minute, such as 5/s or 60/m; default: no limit."
    )
    concurrent: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = Field(
        None, description="Requests at the same time; default: no limit."
    )
    expires: date | None = Field(None, description="The last day on which it works (UTC).")
    created: date = Field(description="The day on which it was made (UTC).")
    revoked: date | None = Field(
        None,
        description="The day on which it was revoked: it works no more, and its name is taken.",
    )

    def as_known(self, name: str) -> ApiKey:
        """The key as gateways know it."""
        return ApiKey(
            name=name,
            sha256=self.sha256,
            models=tuple(dict.fromkeys(map(full_model_name, self.models or ()))),
            rate=self.rate,
            concurrent=self.concurrent,
            expires=self.expires,
            created=self.created,
        )


class KeysFile(Spec):
    """All keys of a fleet."""

    version: Literal[1] = Field(description="Of this file's form.")
    keys: dict[Name, KeySpec] = Field(default={}, description="The keys by name.")

    @model_validator(mode="after")
    def _rules(self) -> "KeysFile":
        for rule in (_one_name_each, _few_limits):
            for error in rule(self):
                raise error
        return self


def _one_name_each(file: KeysFile) -> Iterator[PydanticCustomError]:
    names: dict[str, str] = {}
    for name, key in file.keys.items():
        if key.sha256 in names:
            what = f"is the key '{names[key.sha256]}', too; make a new key for each name"
            yield rule_broken(("keys", name, "sha256"), what)
        names[key.sha256] = name


def _few_limits(file: KeysFile) -> Iterator[PydanticCustomError]:
    kinds: dict[str, Callable[[KeySpec], str | int | None]] = {
        "rate": lambda key: key.rate,
        "concurrent": lambda key: key.concurrent,
    }
    for kind, value_of in kinds.items():
        seen: set[str | int] = set()
        for name, key in file.keys.items():
            value = value_of(key)
            if value is None or key.revoked:
                continue
            seen.add(value)
            if len(seen) > MOST_LIMITS:
                what = (
                    f"makes more than {MOST_LIMITS} different ones in this file; take one of those"
                )
                yield rule_broken(("keys", name, kind), what)
                break
