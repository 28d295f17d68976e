"""`fleet check`: an inventory by itself, without any host."""

from pathlib import Path
from typing import Annotated

import typer

from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError


def check(
    inventory: Annotated[
        Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
    ],
) -> None:
    """Say whether an inventory is valid, and which slices it describes; touches no host."""
    path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
    try:
        hosts = fleet_hosts(load_fleet(path), path.parent)
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    for name, data in hosts:
        typer.echo(f"{name} ({data.get('ssh_hostname', 'this machine')})")
        for item in data["plan"].slices:
            models = ", ".join(item.models) or "no models"
            typer.echo(f"  {item.unit}  port {item.port}  GPUs {list(item.gpus)}  {models}")
