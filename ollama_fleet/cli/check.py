"""`fleet check`: an inventory by itself, without any host."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ollama_fleet.cli.ending import JsonOption, answering, print_json


def check(
    inventory: Annotated[
        Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
    ],
    json: JsonOption = False,
) -> None:
    """Say whether an inventory is valid, and which slices it describes; touches no host.

    Also reads what a deploy would read on this machine: keys, lists of checksums. Exit code 2 when
    it is not valid, 3 when it is, but does not fit.

    JSON: hosts, a list with name, address and slices (name, unit, port, gpus, models); mirrors, those
    that a deploy sets up (name, address, url).
    """
    with answering(json):
        from ollama_fleet.inventory import fleet_hosts
        from ollama_fleet.load import load_fleet

        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        machines = fleet_hosts(load_fleet(path), path)
        hosts = [_host(name, data) for name, data in machines if "plan" in data]
        mirrors = [_mirror(data) for _, data in machines if "mirror_plan" in data]
        if json:
            print_json({"hosts": hosts, "mirrors": mirrors})
        else:
            _print(hosts, mirrors)


def _host(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": data.get("ssh_hostname"),
        "slices": [
            {
                "name": item.name,
                "unit": item.unit,
                "port": item.port,
                "gpus": list(item.gpus),
                "models": list(item.models),
            }
            for item in data["plan"].slices
        ],
    }


def _mirror(data: dict[str, Any]) -> dict[str, Any]:
    mirror = data["mirror_plan"]
    return {"name": mirror.name, "address": data.get("ssh_hostname"), "url": mirror.url}


def _print(hosts: list[dict[str, Any]], mirrors: list[dict[str, Any]]) -> None:
    for mirror in mirrors:
        typer.echo(
            f"{mirror['name']} ({mirror['address'] or 'this machine'})  mirror {mirror['url']}"
        )
    for host in hosts:
        typer.echo(f"{host['name']} ({host['address'] or 'this machine'})")
        for item in host["slices"]:
            models = ", ".join(item["models"]) or "no models"
            typer.echo(f"  {item['unit']}  port {item['port']}  GPUs {item['gpus']}  {models}")
