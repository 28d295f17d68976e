"""The gateways that the keys of an inventory are for, and how a changed key gets to them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ollama_fleet.cli.deploying import (
    as_typed,
    deploy_words,
    ending_as_interrupted,
    run_pyinfra,
    script_of,
)
from ollama_fleet.cli.ending import FAILED, INTERRUPTED, WELL, BadOptionError, fail, print_json
from ollama_fleet.kept_plan import read_kept
from ollama_fleet.keys.kept import keys_path_of, read_keys
from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import gateways_of
from ollama_fleet.spec.fleet import Fleet

# Of a deploy: the keys alone.
KEYS_ONLY = "gateway_part=keys"
NOT_ASKED = "`keys: none`: the gateway asks nobody for a key, so none of this is in force"


@dataclass(frozen=True)
class Gateways:
    """The gateways of the inventory `described`, and its file of keys.

    `machines` are their names for pyinfra, `models` the full names of what they serve. `script` is
    pyinfra's inventory, None where nothing will be deployed. `note` is for people.
    """

    described: Path
    file: Path
    machines: tuple[str, ...]
    models: frozenset[str]
    script: Path | None
    note: str


def gateways_at(inventory: Path, deploy: bool | None) -> Gateways:
    """Those of an inventory. Raises BadOptionError where it has none, and InputError.

    `deploy`: whether they will be changed; None for perhaps."""
    described = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
    if inventory.suffix == ".py" and not described.exists():
        raise BadOptionError(f"{described} is missing: only for such a file are keys kept")
    fleet = load_fleet(described)
    if fleet.gateway is None:
        raise BadOptionError(f"{described} has no gateway to call; {_what_to_add(fleet)}")
    read_keys(described)  # what is wrong there is said before anything happens
    plans = plan_fleet(fleet, previous=read_kept(described)).required(described.name).hosts
    gateways = gateways_of(fleet, plans)
    if not gateways:
        what = "none of its gateways is set up by us (`state: absent`, `manage: false`)"
        raise BadOptionError(f"nobody asks for keys of {described}: {what}. Nothing was touched.")
    return Gateways(
        described=described,
        file=keys_path_of(described),
        machines=tuple(_pyinfra_name(name, plan.host, fleet) for name, plan in gateways.items()),
        models=frozenset(pool.model for plan in gateways.values() for pool in plan.pools),
        script=None if deploy is False else script_of(described),
        note="" if fleet.gateway.keys == "required" else NOT_ASKED,
    )


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """What exists instead of an unknown name; a few of all where nothing is like it."""
    every = sorted(known)
    return tuple(difflib.get_close_matches(name, every, n=3, cutoff=0.4) or every[:5])


def bring(
    gateways: Gateways, deploy: bool | None, said: dict[str, Any], untold: str, as_json: bool
) -> None:
    """Bring the keys to the gateways if a person wants it, and say how it ended.

    `said` is what JSON begins with, `untold` what is so where a gateway was not told. Raises typer.Exit.
    """
    if gateways.note:
        typer.echo(gateways.note, err=True)
    where = ", ".join(gateways.machines)
    if deploy is None:
        deploy = typer.confirm(f"Bring it to {where} now?", default=True, err=True)
    if not (deploy and gateways.script):
        typer.echo(f"the next deploy brings it to {where}", err=True)
        _print_json(gateways, said, False, as_json)
        return
    words = deploy_words(gateways.script, gateways.machines, [KEYS_ONLY])
    try:
        with ending_as_interrupted():
            code, _ = run_pyinfra([*words, "-y"])
    except KeyboardInterrupt:
        # A new key is shown this once, and is in the file already.
        code = INTERRUPTED
    if code == WELL:
        typer.echo(f"told to {where}", err=True)
        _print_json(gateways, said, True, as_json)
        return
    what = (
        f"{gateways.file} is changed, but not every gateway was told (see above): {untold}. "
        f"Tell them: {as_typed(words)}"
    )
    code = code if code == INTERRUPTED else FAILED
    if not as_json:
        raise fail(what, code, as_json=False)
    ended = {"error": what, "nearest": [], "exit_code": code}
    _print_json(gateways, said | ended, False, as_json)
    raise typer.Exit(code)


def _print_json(gateways: Gateways, said: dict[str, Any], deployed: bool, as_json: bool) -> None:
    if as_json:
        print_json({**said, "gateways": list(gateways.machines), "deployed": deployed})


def _pyinfra_name(name: str, host: str, fleet: Fleet) -> str:
    spec = fleet.hosts.get(host) or fleet.gateways[name]
    return "@local" if spec.connection == "local" else host


def _what_to_add(fleet: Fleet) -> str:
    if len(fleet.hosts) == 1:
        return "add `gateway: {}`"
    first = next(iter(fleet.hosts), "gpu01")
    return f"add `gateway: {{}}`, and its machines, such as `gateways: {{gw1: {{host: {first}}}}}`"
