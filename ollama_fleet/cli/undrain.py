"""`fleet undrain`: what was drained by hand serves again."""

from typing import Annotated

import typer

from ollama_fleet.cli.drain import TARGET, InventoryArgument
from ollama_fleet.cli.drained import carry_out, order_of, print_marks, rows_of
from ollama_fleet.cli.ending import JsonOption, answering, print_json


def undrain(
    inventory: InventoryArgument,
    target: Annotated[str, typer.Argument(help=TARGET)],
    json: JsonOption = False,
) -> None:
    """Put a host or a slice back into service.

    Exit code 1 when its host cannot be reached.

    JSON: hosts (name to slices: drained, since, by, reason, requests).
    """
    with answering(json):
        found = carry_out(order_of(inventory, target, "undrain"))
        if json:
            print_json({"hosts": found})
        else:
            still = [row for row in rows_of(found) if row[1]["drained"]]
            print_marks(still, f"{target} is in service")
