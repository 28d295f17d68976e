"""`fleet drain`: a host or a slice out of service by hand, and which of them are."""

from pathlib import Path
from typing import Annotated

import typer

from ollama_fleet.cli.drained import carry_out, order_of, print_marks, rows_of
from ollama_fleet.cli.ending import HostError, JsonOption, answering, print_json

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
TARGET = "A host, or one of its slices as HOST.SLICE."
ReasonOption = Annotated[str, typer.Option(help="Why, for whoever finds it drained.")]
WaitOption = Annotated[
    int, typer.Option(min=0, max=86_400, help="Most seconds to wait for running requests.")
]


def drain(
    inventory: InventoryArgument,
    target: Annotated[
        str | None, typer.Argument(help=f"{TARGET} None: show who is drained.")
    ] = None,
    reason: ReasonOption = "",
    wait: WaitOption = 120,
    json: JsonOption = False,
) -> None:
    """Take a host or a slice out of service at the gateways, and wait until its requests have ended.

    New requests go to others from then on, running ones go on. It stays out over deploys and boots, until
    `fleet undrain`. Without a target: who is drained, since when, by whom and why. Exit code 1 when a host
    cannot be reached, or requests still run when the time is over.

    JSON: hosts (name to slices: drained, since, by, reason, requests).
    """
    with answering(json):
        words = " ".join(reason.split())
        verb = "drain" if target else "look"
        order = order_of(inventory, target, verb, words, wait)
        if order.away:
            what = "no other slice serves that; requests for it get a 503 until `fleet undrain`"
            typer.echo(f"{', '.join(order.away)}: {what}", err=True)
        found = carry_out(order)
        busy = [name for name, item in rows_of(found) if item["drained"] and item["requests"]]
        if json:
            print_json({"hosts": found})
        else:
            print_marks([row for row in rows_of(found) if row[1]["drained"]], "no slice is drained")
        if target and busy:
            what = f"{', '.join(busy)}: requests still run after {wait} s"
            raise HostError(f"{what}; it stays drained, `fleet drain` again waits for them")
