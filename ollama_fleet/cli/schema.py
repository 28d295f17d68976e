"""`fleet schema`: the JSON Schema of an inventory."""

import json

from ollama_fleet.spec import fleet_schema


def schema() -> None:
    """Print the JSON Schema of an inventory file, for editors that complete and check YAML."""
    print(json.dumps(fleet_schema(), indent=2))
