"""`fleet remove`: everything of ours off one host, by the deploy itself."""

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ollama_fleet.cli.deploying import deploy_words, run_pyinfra, script_of
from ollama_fleet.cli.ending import (
    FAILED,
    WELL,
    BadOptionError,
    JsonOption,
    answering,
    fail,
    print_json,
)

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
HostArgument = Annotated[str, typer.Argument(help="The host's name in it.")]
ModelsOption = Annotated[bool, typer.Option("--models", help="Remove its model store, too.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def remove(
    inventory: InventoryArgument,
    host: HostArgument,
    models: ModelsOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Take everything that a deploy put there off one host: show what will go, ask, do it.

    Slices end their requests first. Driver, container toolkit and GPU layout stay, and so does the
    model store unless --models is given. The same as `state: absent` in the inventory. Exit code 1
    when the host cannot be reached, or not everything could be removed.

    JSON (with --yes): host, changed, models.
    """
    with answering(json):
        if json and not yes:
            raise BadOptionError("--json asks nothing: add --yes to remove. Nothing was touched.")
        if not yes and not sys.stdin.isatty():
            raise BadOptionError(
                "no terminal to ask for confirmation: add --yes to remove. Nothing was touched."
            )
        script, name, comes_back = _target(inventory, host)
        data = ["state=absent", *(["remove_models=true"] if models else [])]
        words = deploy_words(script, [name], data)
        if not yes and not _asked(words, host):
            return
        code, report = run_pyinfra([*words, "-y"])
        if code != WELL:
            raise fail(f"{host}: not everything was removed; see above", code, json)
        if json:
            print_json({"host": host, "changed": bool(_changed(report)), "models": models})
        elif comes_back:
            typer.echo(
                f"{host} is still in {inventory}: say `state: absent` there, or take it out, or the "
                "next deploy puts all of it back"
            )


def _target(inventory: Path, host: str) -> tuple[Path, str, bool]:
    """pyinfra's inventory and its name for the host, and whether a deploy would put it back. Raises
    BadOptionError and InputError."""
    from ollama_fleet.load import load_fleet

    script, described = inventory.with_suffix(".py"), inventory.with_suffix(".yml")
    if inventory.suffix == ".py" and not described.exists():  # plain Python knows best
        if not script.is_file():
            raise BadOptionError(f"{script} is no file")
        return script.resolve(), host, True
    fleet = load_fleet(described)
    if kind := next((k for k in ("gateways", "mirrors") if host in getattr(fleet, k)), None):
        what = f"'{host}' stands under `{kind}:`; say `state: absent` there and deploy"
        raise BadOptionError(f"{what}. Nothing was touched.")
    if host not in fleet.hosts:
        near = difflib.get_close_matches(host, fleet.hosts, n=3, cutoff=0.4)
        has = ", ".join(near or list(fleet.hosts)[:5])
        raise BadOptionError(f"no host is named '{host}' in {described}; nearest: {has}")
    spec = fleet.hosts[host]
    name = "@local" if spec.connection == "local" else host
    return script_of(described), name, spec.state == "present"


def _asked(words: list[str], host: str) -> bool:
    """Show what will go, and whether a person wants it; False where there is nothing to do."""
    code, report = run_pyinfra([*words, "--dry"])
    if code != WELL:
        raise typer.Exit(code)
    if not any(operation["hosts_with_change"] for operation in report.get("plan", ())):
        typer.echo(f"nothing of ours is on {host}")
        return False
    if not typer.confirm(f"Remove all this from {host}?", err=True):
        typer.echo("Nothing was touched.", err=True)
        raise typer.Exit(FAILED)
    return True


def _changed(report: dict[str, Any]) -> list[str]:
    operations = (report.get("results") or {}).get("operations", ())
    return [operation["name"] for operation in operations if operation["success"]]
