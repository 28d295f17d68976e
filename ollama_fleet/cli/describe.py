"""`fleet describe`: a model of one's own as an entry for an inventory's catalogue."""

import json as jsonlib
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import BadOptionError, HostError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.catalogue import Model

ANSWER_WITHIN_S = 30
# /api/show of the largest vocabularies takes some 20 MB with its tensors.
MOST_BYTES = 256 * 2**20


def describe(
    source: Annotated[
        str,
        typer.Argument(
            help="A .gguf file, or the address of a running Ollama (http://host:11434)."
        ),
    ],
    tag: Annotated[
        str | None,
        typer.Option(help="Name of the model; needed with an address, else the file's own name."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print a model of your own as an entry for an inventory: paste it, then plan with its tag.

    Reads only the header of a file. JSON: the entry's keys, see `catalogue.models` in
    docs/inventory.md.
    """
    with answering(json):
        entry = _entry(_described(source, tag))
        if json:
            print_json(entry)
        else:
            print(_yaml({"catalogue": {"models": [entry]}}), end="")


def _described(source: str, tag: str | None) -> "Model":
    from ollama_fleet.catalogue import from_api_show, read_gguf

    if not source.startswith(("http://", "https://")):
        return read_gguf(Path(source), tag)
    if not tag:
        raise BadOptionError(f"which model of {source}? Name it with --tag, as `ollama list` does")
    return from_api_show(tag, _show(source, tag))


def _show(address: str, tag: str) -> dict[str, Any]:
    """The server's answer to /api/show. Raises HostError."""
    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/show",
        data=jsonlib.dumps({"model": tag, "verbose": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S) as answer:
            value = jsonlib.loads(answer.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        raise HostError(f"{address}: {error.code} for {tag}; see `ollama list` there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise HostError(f"{address} gives no answer ({error}); is it an Ollama server?") from None
    return value if isinstance(value, dict) else {}


def _entry(model: "Model") -> dict[str, Any]:
    """Only what differs from a default, so that the entry stays short."""
    values = model.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return {key: sorted(value) if key == "tasks" else value for key, value in values.items()}


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text
