"""`fleet check`: an inventory by itself, without any host."""

from collections.abc import Iterable
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
    that a deploy sets up (name, address, url); gateways (name, host, address, url, managed), and pools, the
    models behind them (model, slices with slice, parallel, weight).
    """
    with answering(json):
        from ollama_fleet.inventory import fleet_hosts
        from ollama_fleet.keys.kept import keys_in_force
        from ollama_fleet.load import load_fleet
        from ollama_fleet.planner.gateway import engines_of, gateways_of
        from ollama_fleet.report.gateways import gateway_lines, gateways_data

        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        fleet = load_fleet(path)
        machines = fleet_hosts(fleet, path)
        hosts = [_host(name, data) for name, data in machines if "plan" in data]
        mirrors = [_mirror(data) for _, data in machines if "mirror_plan" in data]
        plans = {data["plan"].host: data["plan"] for _, data in machines if "plan" in data}
        plans = {name: plans[name] for name in fleet.hosts}  # without machines that are given up
        both = list(gateways_of(fleet, plans).values()), list(engines_of(fleet, plans).values())
        if json:
            print_json({"hosts": hosts, "mirrors": mirrors, **gateways_data(*both)})
        else:
            _print(hosts, mirrors, gateway_lines(*both, has_keys=bool(keys_in_force(path))))


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


def _print(
    hosts: list[dict[str, Any]], mirrors: list[dict[str, Any]], gateways: Iterable[str]
) -> None:
    for mirror in mirrors:
        typer.echo(
            f"{mirror['name']} ({mirror['address'] or 'this machine'})  mirror {mirror['url']}"
        )
    for host in hosts:
        typer.echo(f"{host['name']} ({host['address'] or 'this machine'})")
        for item in host["slices"]:
            models = ", ".join(item["models"]) or "no models"
            typer.echo(f"  {item['unit']}  port {item['port']}  GPUs {item['gpus']}  {models}")
    for line in gateways:
        typer.echo(line)
