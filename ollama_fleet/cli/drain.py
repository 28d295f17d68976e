"""`fleet drain` and `fleet undrain`: hosts and slices out of service by hand, and which of them are."""

import difflib
import json as jsonlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import (
    WELL,
    BadOptionError,
    HostError,
    JsonOption,
    answering,
    print_json,
)
from ollama_fleet.cli.remove import LOADER, PROJECT

if TYPE_CHECKING:
    from ollama_fleet.spec import Fleet

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
TARGET = "A host, or one of its slices as HOST.SLICE."
ReasonOption = Annotated[str, typer.Option(help="Why, for whoever finds it drained.")]
WaitOption = Annotated[
    int, typer.Option(min=0, max=86_400, help="Most seconds to wait for running requests.")
]


@dataclass(frozen=True)
class Order:
    """What is asked of hosts (names of the inventory); no slices: all of them."""

    script: Path
    hosts: tuple[str, ...]
    names: tuple[str, ...]
    verb: str = "look"
    slices: tuple[str, ...] = ()
    reason: str = ""
    wait_s: int = 0


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
        found = _done(_order(inventory, target, verb, words, wait))
        busy = [name for name, item in _rows(found) if item["drained"] and item["requests"]]
        if json:
            print_json({"hosts": found})
        else:
            _print([row for row in _rows(found) if row[1]["drained"]], "no slice is drained")
        if target and busy:
            what = f"{', '.join(busy)}: requests still run after {wait} s"
            raise HostError(f"{what}; it stays drained, `fleet drain` again waits for them")


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
        found = _done(_order(inventory, target, "undrain"))
        if json:
            print_json({"hosts": found})
        else:
            still = [row for row in _rows(found) if row[1]["drained"]]
            _print(still, f"{target} is in service")


def _order(
    inventory: Path, target: str | None, verb: str, reason: str = "", wait_s: int = 0
) -> Order:
    """Raises BadOptionError and InputError."""
    from ollama_fleet.load import load_fleet

    script, described = inventory.with_suffix(".py"), inventory.with_suffix(".yml")
    fleet = load_fleet(described)
    if fleet.gateway is None:
        what = f"{described} has no gateway, so nobody would notice; `gateway: {{}}` makes one"
        raise BadOptionError(what)
    if not script.is_file():
        raise BadOptionError(
            f"{script} is missing, by which pyinfra reads {described}; it holds:\n{LOADER}"
        )
    host, slices = _named(fleet, described, target)
    hosts = [host] if host else [n for n, spec in fleet.hosts.items() if spec.state == "present"]
    names = ["@local" if fleet.hosts[name].connection == "local" else name for name in hosts]
    return Order(script.resolve(), tuple(hosts), tuple(names), verb, slices, reason, wait_s)


def _named(fleet: "Fleet", inventory: Path, target: str | None) -> tuple[str, tuple[str, ...]]:
    """Host and slices that a person names. Host names may have dots, names of slices have none."""
    from ollama_fleet.inventory import fleet_hosts

    if target is None:
        return "", ()
    if target in fleet.hosts:
        return target, ()
    plans = [data["plan"] for _, data in fleet_hosts(fleet, inventory) if "plan" in data]
    known = [f"{plan.host}.{item.name}" for plan in plans for item in plan.slices]
    if target in known:
        host, _, name = target.rpartition(".")
        return host, (name,)
    every = [*fleet.hosts, *known]
    near = difflib.get_close_matches(target, every, n=3, cutoff=0.4) or every[:5]
    what = f"no host or slice is named '{target}' in {inventory}; nearest: {', '.join(near)}"
    raise BadOptionError(what)


def _done(order: Order) -> dict[str, Any]:
    """What hosts say when it is done. Raises HostError where some did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        done = subprocess.run(
            [*_command(order), "--data", f"drain_report={report}"],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found = jsonlib.loads(report.read_text("utf-8")) if report.exists() else {}
    missing = [name for name in order.hosts if name not in found]
    if done.returncode != WELL or missing:
        print(done.stdout, file=sys.stderr)
        raise HostError(f"{', '.join(missing or order.hosts)}: not done; see above")
    return dict(found)


def _command(order: Order) -> Sequence[str]:
    data = {
        "drain_verb": order.verb,
        "drain_slices": " ".join(order.slices),
        "drain_reason": order.reason,
        "drain_wait_s": str(order.wait_s),
    }
    command = [sys.executable, "-m", "pyinfra", str(order.script), "tasks/drain.py", "-y"]
    command += [word for name in order.names for word in ("--limit", name)]
    return command + [word for key, text in data.items() for word in ("--data", f"{key}={text}")]


def _rows(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{host}.{name}", item) for host, slices in found.items() for name, item in slices.items()
    ]


def _print(rows: list[tuple[str, dict[str, Any]]], otherwise: str) -> None:
    for name, item in rows:
        why = f": {item['reason']}" if item.get("reason") else ""
        running = (
            f"{item['requests'] or 'no'} request{'' if item['requests'] == 1 else 's'} running"
        )
        typer.echo(f"{name} is drained since {item['since']} by {item['by']}{why}; {running}")
    if not rows:
        typer.echo(otherwise)
