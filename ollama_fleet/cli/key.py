"""`fleet key add`, `list` and `revoke`: who may call the gateway."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from datetime import date

    from ollama_fleet.cli.key_gateways import Gateways
    from ollama_fleet.keys.spec import KeySpec

# Of a hash: whatever is longer is something else.
LARGEST_INPUT = 4096

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
NameArgument = Annotated[str, typer.Argument(help="The key's name: whoever or whatever uses it.")]
DeployOption = Annotated[
    bool | None,
    typer.Option(
        "--yes/--no-deploy",
        help="Bring it to the gateways without asking, or leave that to the next deploy.",
    ),
]


def add(
    inventory: InventoryArgument,
    name: NameArgument,
    models: Annotated[
        str | None, typer.Option(help="Models that it may call, with commas; default: all.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Requests per second or minute, such as 5/s or 60/m.")
    ] = None,
    concurrent: Annotated[int | None, typer.Option(help="Requests at the same time.")] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="The last day on which it works (UTC): 2027-01-31, or 90d from now."),
    ] = None,
    hash: Annotated[
        bool,
        typer.Option(
            "--hash", help="Read the SHA-256 of a key that you have already from standard input."
        ),
    ] = False,
    deploy: DeployOption = None,
    json: JsonOption = False,
) -> None:
    """Let somebody call the gateway: make a key, show it once, bring its hash to the gateways.

    The key alone goes to standard output, and is kept nowhere; its SHA-256 and what it may do stand
    in a file beside the inventory (prod.keys.yml). Exit code 1 when not every gateway got it: the
    file has it then, and the next deploy brings it.
    Example: fleet key add inventory/prod.yml ci --models qwen3:8b --rate 60/m --expires 90d

    JSON: name, key (null with --hash), file, gateways, deployed; and with exit code 1 error.
    """
    with answering(json):
        from ollama_fleet.cli.key_gateways import bring, gateways_at
        from ollama_fleet.keys.kept import changing_keys
        from ollama_fleet.keys.making import digest_of, new_key

        _may_ask(deploy, json or hash)
        gateways = gateways_at(inventory, deploy)
        wanted = _served(models, gateways)
        key = None if hash else new_key()
        digest = digest_of(key) if key else None
        spec = _spec(name, digest, wanted, rate, concurrent, expires)
        with changing_keys(gateways.described) as keys:
            _refuse_taken(name, spec.sha256, keys)
            keys[name] = spec
        typer.echo(f"{name} is in {gateways.file}", err=True)
        if key and not json:
            typer.echo("its key, which is shown this once:", err=True)
            typer.echo(key)
        said = {"name": name, "key": key, "file": str(gateways.file)}
        bring(gateways, deploy, said, f"there '{name}' is a 401", json)


def revoke(
    inventory: InventoryArgument,
    name: Annotated[str, typer.Argument(help="The key's name.")],
    deploy: DeployOption = None,
    json: JsonOption = False,
) -> None:
    """Let a key work no more. Requests that it has begun end; its next one is a 401.

    Its entry stays in the file, so that no other key gets its name. Exit code 1 when not every
    gateway was told: those still take the key, and the same again tells them.

    JSON: name, revoked (the day), file, gateways, deployed; and with exit code 1 error.
    """
    with answering(json):
        from ollama_fleet.catalogue import UnknownName
        from ollama_fleet.cli.key_gateways import bring, gateways_at, nearest
        from ollama_fleet.keys.kept import changing_keys
        from ollama_fleet.keys.making import today

        _may_ask(deploy, json)
        gateways = gateways_at(inventory, deploy)
        with changing_keys(gateways.described) as keys:
            if name not in keys:
                raise UnknownName(f"key in {gateways.file}", name, nearest(name, keys))
            day = keys[name].revoked or today()
            keys[name] = keys[name].model_copy(update={"revoked": day})
        typer.echo(f"{name} is revoked in {gateways.file} (since {day})", err=True)
        said = {"name": name, "revoked": str(day), "file": str(gateways.file)}
        bring(gateways, deploy, said, f"there '{name}' still works", json)


def list_(inventory: InventoryArgument, json: JsonOption = False) -> None:
    """Show the keys of an inventory: what each may do, until when, and which are revoked.

    JSON: file, keys (name, state, one of active, expired, revoked; models, null for all; not_served,
    those of them that the fleet does not serve; rate, concurrent, expires, created, revoked, sha256).
    """
    with answering(json):
        from ollama_fleet.cli.key_gateways import gateways_at
        from ollama_fleet.keys.kept import read_keys
        from ollama_fleet.keys.making import today

        gateways = gateways_at(inventory, deploy=False)
        keys = read_keys(gateways.described)
        rows = [_row(name, key, gateways.models, today()) for name, key in keys.items()]
        if json:
            print_json({"file": str(gateways.file), "keys": rows})
        else:
            _print(rows, gateways)


def _may_ask(deploy: bool | None, is_read: bool) -> None:
    """Whether to deploy is said, or can be asked. Raises BadOptionError."""
    if deploy is None and (is_read or not sys.stdin.isatty()):
        raise BadOptionError(
            "nobody to ask whether to bring it to the gateways: add --yes, or --no-deploy to leave "
            "that to the next deploy. Nothing was touched."
        )


def _served(models: str | None, gateways: "Gateways") -> list[str] | None:
    """The models that a key may call. Raises UnknownName for one that the fleet does not serve."""
    from ollama_fleet.catalogue import UnknownName
    from ollama_fleet.cli.key_gateways import nearest
    from ollama_fleet.spec.known import full_model_name

    if models is None:
        return None
    wanted = [model.strip() for model in models.split(",") if model.strip()]
    for model in wanted:
        if full_model_name(model) not in gateways.models:
            why = f"no slice of {gateways.described} serves {model!r}"
            raise UnknownName("model", model, nearest(model, gateways.models), why)
    return wanted


def _spec(
    name: str,
    digest: str | None,
    models: list[str] | None,
    rate: str | None,
    concurrent: int | None,
    expires: str | None,
) -> "KeySpec":
    """The new entry; `digest` None: it comes on standard input. Raises BadOptionError, and InputError
    in the words of the file."""
    from ollama_fleet.keys.kept import checked
    from ollama_fleet.keys.making import KeyFormError, last_day, read_digest, today

    try:
        ends = last_day(expires, today()) if expires else None
        digest = digest or read_digest(sys.stdin.read(LARGEST_INPUT))
    except KeyFormError as error:
        raise BadOptionError(str(error)) from None
    entry = {
        "sha256": digest,
        "models": models,
        "rate": rate,
        "concurrent": concurrent,
        "expires": ends,
        "created": today(),
    }
    return checked("fleet key add", {name: entry}).keys[name]


def _refuse_taken(name: str, digest: str, keys: "Mapping[str, KeySpec]") -> None:
    """A name is one key's for ever, so that logs stay true, and a revoked key does not come back."""
    other = next((one for one, key in keys.items() if key.sha256 == digest), None)
    if name in keys:
        day = keys[name].revoked
        taken = f"was revoked on {day}" if day else "is there"
        raise BadOptionError(f"a key '{name}' {taken}; take another name, such as '{name}-2'")
    if other and keys[other].revoked:
        raise BadOptionError(f"this is the key '{other}', which was revoked; make a new one")
    if other:
        raise BadOptionError(f"this is the key '{other}'; make a new one for each name")


def _row(name: str, key: "KeySpec", served: frozenset[str], now: "date") -> dict[str, Any]:
    known = key.as_known(name)
    is_over = known.expires is not None and known.expires < now
    entry = key.model_dump(mode="json", exclude={"models"})
    return {
        "name": name,
        "state": "revoked" if key.revoked else "expired" if is_over else "active",
        "models": list(known.models) or None,
        "not_served": [model for model in known.models if model not in served],
        **entry,
    }


def _print(rows: list[dict[str, Any]], gateways: "Gateways") -> None:
    from rich.console import Console

    from ollama_fleet.report.keys_table import keys_table

    if rows:
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(keys_table(rows))
    active = sum(row["state"] == "active" for row in rows)
    print(f"{gateways.file}: {active} of {len(rows)} keys active")
    if gateways.note:
        print(gateways.note)
