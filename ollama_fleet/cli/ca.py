"""`fleet ca`: the fleet's own authority: what clients trust, and another one in its place."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ollama_fleet.cli.ending import BadOptionError, JsonOption, answering, print_json

ActionArgument = Annotated[
    Literal["show", "export", "rotate"],
    typer.Argument(
        help="show: what there is; export: print what clients trust; rotate: the next move."
    ),
]
InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]


def ca(action: ActionArgument, inventory: InventoryArgument, json: JsonOption = False) -> None:
    """The authority that signs the fleet's certificates; the first deploy makes it.

    It lies in a folder beside the inventory (prod.ca). `export` prints, as PEM, what clients trust:
    keep that in a file and name it to them (docs/tls.md). `rotate` puts another authority in its
    place, in three moves with a deploy after each, so that nothing is refused in between.
    Example: fleet ca export inventory/prod.yml > fleet-ca.pem

    JSON: folder, has_key, trusted (subject, fingerprint, ends), said (of a rotation) and pem.
    """
    with answering(json):
        from ollama_fleet.authority.folder import read_authority
        from ollama_fleet.authority.inventory_folder import folder_of
        from ollama_fleet.authority.rotation import SAYS, rotate

        if not inventory.exists():
            raise BadOptionError(f"there is no inventory {inventory}")
        folder = folder_of(inventory)
        said = SAYS[rotate(folder)] if action == "rotate" else ""
        authority = read_authority(folder)
        if authority is None:
            what = "has no authority yet; the first deploy with a gateway makes it"
            raise BadOptionError(f"{folder} {what}")
        if json:
            print_json(_data(authority, said))
        elif action == "export":
            print(authority.bundle, end="")
        else:
            print(said or _words(authority))


def _trusted(authority: Any) -> list[dict[str, str]]:
    from ollama_fleet.authority.folder import fingerprint_of

    return [
        {
            "subject": certificate.subject.rfc4514_string(),
            "fingerprint": fingerprint_of(certificate),
            "ends": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
        }
        for certificate in authority.trusted
    ]


def _data(authority: Any, said: str) -> dict[str, Any]:
    return {
        "folder": str(authority.folder),
        "has_key": authority.key is not None,
        "trusted": _trusted(authority),
        "said": said,
        "pem": authority.bundle,
    }


def _words(authority: Any) -> str:
    key = "" if authority.key else "; its key is not on this machine"
    lines = [f"{authority.folder}{key}"]
    for entry in _trusted(authority):
        lines += [
            f"  {entry['subject'].removeprefix('CN=')}, until {entry['ends']}",
            f"  SHA-256 {entry['fingerprint']}",
        ]
    return "\n".join(lines)
