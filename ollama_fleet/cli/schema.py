"""`fleet schema`: what an inventory may say, for editors and for people; what `fleet verify --json` says."""

from typing import Annotated, Any

import typer

from ollama_fleet.cli.ending import BadOptionError, answering, print_json


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A page to read.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The schema itself, as without it.")] = False,
    verification: Annotated[
        bool, typer.Option("--verification", help="That of what `fleet verify --json` prints.")
    ] = False,
) -> None:
    """Print the JSON Schema of an inventory file, for editors that complete and check YAML."""
    with answering(json):
        from ollama_fleet.spec.fleet import fleet_schema

        if markdown and (json or verification):
            raise BadOptionError("--markdown alone, or the schema itself")
        if verification:
            from ollama_fleet.report.verification_json import verification_schema

            print_json(verification_schema())
            return
        document = fleet_schema()
        if markdown:
            print(reference_page(document))
        else:
            print_json(document)


def reference_page(document: dict[str, Any]) -> str:
    """Every key of the inventory as Markdown tables, one per section."""
    sections = {"The file": document, **document["$defs"]}
    lines = [
        "# The inventory file",
        "",
        "Made by `fleet schema --markdown` from the models that validate the file.",
    ]
    for name, model in sections.items():
        heading = name if name == "The file" else _section(name)
        about = " ".join(str(model.get("description", "")).split())
        lines += ["", f"## {heading}", "", about, "", "| key | type | default | meaning |"]
        lines += ["|---|---|---|---|", *_rows(model)]
    return "\n".join(lines)


def _rows(model: dict[str, Any]) -> list[str]:
    required = model.get("required", [])
    return [
        f"| `{key}` | {_type(value)} | {_default(key, value, required)} | {value['description']} |"
        for key, value in model["properties"].items()
    ]


def _section(name: str) -> str:
    return name.removesuffix("Spec").lower()


def _default(key: str, value: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "**required**"
    default = value.get("default")
    return "" if default in (None, [], {}) or isinstance(default, dict) else f"`{default}`"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = _section(value["$ref"].rpartition("/")[2])
        return f"[{name}](#{name})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            options = (one for one in value[several] if one.get("type") != "null")
            return " or ".join(map(_type, options))
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}"
    if value.get("type") == "object":
        patterns: dict[str, Any] = value.get("patternProperties", {})
        values = [value.get("additionalProperties"), *patterns.values()]
        inner: dict[str, Any] = next(filter(None, values), {})
        return f"map to {_type(inner)}"
    return str(value.get("type", ""))
