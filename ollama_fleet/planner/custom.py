"""Models that a host makes itself: of a file or of another model. Frozen values, part of `HostPlan`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ollama_fleet.spec.known import custom_of, full_model_name

if TYPE_CHECKING:
    from ollama_fleet.spec.custom import CustomModelSpec
    from ollama_fleet.spec.fleet import Fleet

Kind = Literal["file", "url", "host", "from"]


@dataclass(frozen=True)
class CustomModel:
    """One model of a person's own.

    `kind` says what `source` is: a path on this machine, an address, a path on the host, or a model.
    `sha256` (hex) is that of the file; None for a model, and where nobody knows it beforehand.
    `request` is the JSON of all that Ollama is told beside the source; the same definition gives the
    same text. `file_bytes` is the size of its file; 0 where nobody knows it.
    """

    name: str
    kind: Kind
    source: str
    sha256: str | None
    request: str
    file_bytes: int = 0


def custom_models(
    fleet: "Fleet", models: Iterable[str]
) -> tuple[tuple[CustomModel, ...], tuple[str, ...]]:
    """The custom ones of `models`, each after what it is made from; and all models that are needed for
    it, which a registry may have."""
    made: dict[str, CustomModel] = {}
    bases: list[str] = []

    def add(name: str) -> None:
        spec = custom_of(fleet, name)
        if spec is None or full_model_name(name) in made:
            return
        if spec.from_:
            add(spec.from_)
            bases.append(full_model_name(spec.from_))
        made[full_model_name(name)] = replace(
            _custom(full_model_name(name), spec), file_bytes=_file_bytes(fleet, name)
        )

    for model in models:
        add(model)
    return tuple(made.values()), tuple(dict.fromkeys(bases))


def _custom(name: str, spec: "CustomModelSpec") -> CustomModel:
    request = json.dumps(_request(spec), sort_keys=True, separators=(",", ":"))
    if spec.from_:
        return CustomModel(name, "from", full_model_name(spec.from_), None, request)
    if spec.url:
        return CustomModel(name, "url", spec.url, spec.sha256, request)
    if spec.local_file:
        return CustomModel(name, "file", spec.local_file, spec.sha256, request)
    where: Any = spec.gguf
    return CustomModel(name, "host", where.host, where.sha256, request)


def _file_bytes(fleet: "Fleet", name: str) -> int:
    wanted = full_model_name(name)
    own = fleet.catalogue.models
    return next((model.file_bytes for model in own if full_model_name(model.tag) == wanted), 0)


def _request(spec: "CustomModelSpec") -> dict[str, Any]:
    parameters = spec.parameters.model_dump(exclude_none=True)
    messages = [message.model_dump() for message in spec.messages]
    said = {
        "system": spec.system,
        "template": spec.template,
        "license": spec.license,
        "parameters": parameters or None,
        "messages": messages or None,
    }
    return {key: value for key, value in said.items() if value is not None}
