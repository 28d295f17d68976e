"""The `lab` command: simulated GPU hosts on this machine. Thin; the work is in `lab.lab`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lab import faults as fault_table
from lab.errors import LabError, UsageError
from lab.lab import Lab
from lab.profile import load_profile, profile_names
from lab.state import CACHE, DEFAULT_ROOT, remove_tree

app = typer.Typer(
    name="lab",
    help="Simulated GPU hosts: real Linux machines without a GPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
Host = Annotated[str, typer.Argument(metavar="HOST", help="A lab host (see `lab status`).")]


def _lab() -> Lab:
    return Lab(DEFAULT_ROOT, console)


@app.command()
def up(
    names: Annotated[list[str] | None, typer.Argument(metavar="[HOST]...")] = None,
    profile: Annotated[str | None, typer.Option(help="Hardware (see `lab profiles`).")] = None,
) -> None:
    """Bring up the mirror and these hosts; without names, those of lab.yml. Repairs as well."""
    _lab().up(names or [], profile)


@app.command()
def down() -> None:
    """Remove every host and every trace of the lab on this machine (keys and caches stay)."""
    _lab().down()
    console.print("    the lab is down")


@app.command()
def status() -> None:
    """The hosts, their state and the faults that are on."""
    table = Table("host", "address", "profile", "state", "faults", box=None, pad_edge=False)
    for host in _lab().status():
        broken = ", ".join(_shown(name, given) for name, given in host.faults.items())
        table.add_row(host.name, host.address, host.profile, host.state, broken or "–")
    console.print(table if table.row_count else "no hosts: start them with `lab up`")


@app.command()
def profiles() -> None:
    """The hardware that a host can have."""
    table = Table("profile", "RAM", "CPUs", "disk", "driver", "what", box=None, pad_edge=False)
    for name in profile_names():
        found = load_profile(name)
        driver = found.driver.version if found.driver else "none"
        sizes = (f"{found.ram_gib} GiB", str(found.cpus), f"{found.disk_gib} GiB")
        table.add_row(name, *sizes, driver, found.what)
    # One line each: on a narrow terminal it runs over, and names stay whole.
    Console(width=max(console.width, 180)).print(table)


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    host: Host,
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND]...")] = None,
    user: Annotated[str, typer.Option(help="root, or operator (with sudo).")] = "root",
) -> None:
    """Open a shell on a host, or run a command there."""
    arguments = [*_lab().ssh_command(host, user), *(["--", *command] if command else [])]
    sys.stdout.flush()
    os.execvp(arguments[0], arguments)


@app.command()
def reboot(host: Host) -> None:
    """Reboot a host and wait until it is back."""
    _lab().reboot(host)
    console.print(f"    {host} is back")


@app.command()
def reset(host: Host) -> None:
    """A bare machine under the same name, address and host key; faults are gone."""
    _lab().reset(host)
    console.print(f"    {host} is a bare machine again")


@app.command()
def remove(host: Host) -> None:
    """Stop one host and delete its disk."""
    _lab().remove(host)
    console.print(f"    {host} is gone")


@app.command()
def fault(
    host: Host,
    name: Annotated[str, typer.Argument(metavar="FAULT", help="See `lab faults`.")],
    off: Annotated[bool, typer.Option("--off", help="Repair it.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter.")
    ] = None,
) -> None:
    """Break something on a host, or repair it with --off."""
    if off:
        _lab().clear(host, name)
        console.print(f"    {host}: {name} is off")
        return
    given = dict(_setting(text) for text in settings or [])
    console.print(f"    {host}: {_shown(name, _lab().fault(host, name, **given))} is on")


@app.command()
def faults() -> None:
    """Everything that can be broken on purpose."""
    table = Table("fault", "acts on", "parameters", "what happens", box=None, pad_edge=False)
    for name, found in fault_table.load_faults().items():
        where = "mirror" if found.where == "mirror" else "host"
        parameters = " ".join(f"{key}={value}" for key, value in found.parameters.items())
        table.add_row(name, where, parameters, found.what)
    console.print(table)


@app.command()
def logs(host: Host) -> None:
    """The last lines of a host's journal (of its console when it is off)."""
    print(_lab().logs(host), end="")


@app.command()
def purge() -> None:
    """`lab down`, then delete keys, served files and the cached base image too."""
    _lab().down()
    remove_tree(DEFAULT_ROOT)
    remove_tree(CACHE)
    console.print("    the lab and its caches are gone")


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set needs KEY=VALUE, not '{text}'")
    return key, value


def _shown(name: str, parameters: fault_table.Parameters) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in parameters.items())])


def main() -> None:
    try:
        app()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
