"""The JSON Schema for editors is kept in step with the models."""

import json
from pathlib import Path

from ollama_fleet.cli.schema import reference_page
from ollama_fleet.spec.fleet import fleet_schema

FILE = Path(__file__).parents[2] / "docs/inventory.schema.json"


def test_schema_file_is_up_to_date() -> None:
    """Run `fleet schema > docs/inventory.schema.json` when this fails."""
    assert json.loads(FILE.read_text(encoding="utf-8")) == fleet_schema()


def test_every_key_has_a_description() -> None:
    schema = fleet_schema()
    models = [schema, *schema["$defs"].values()]
    bare = [
        (model["title"], key)
        for model in models
        for key, value in model["properties"].items()
        if "description" not in value
    ]
    assert bare == []


def test_reference_page_is_up_to_date() -> None:
    """Run `fleet schema --markdown > docs/inventory.md` when this fails."""
    page = FILE.with_name("inventory.md").read_text(encoding="utf-8")
    assert page == reference_page(fleet_schema()) + "\n"
