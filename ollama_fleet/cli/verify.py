"""`fleet verify`: every check, at any time, over the whole fleet, and nothing changed."""

import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from ollama_fleet.cli.ending import (
    FAILED,
    INTERRUPTED,
    BadOptionError,
    JsonOption,
    answering,
    print_json,
)

if TYPE_CHECKING:
    from ollama_fleet.checks.outcome import Mode, Outcome

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
HostOption = Annotated[
    list[str] | None, typer.Option("--host", help="Only this machine; may be given again.")
]
CheckOption = Annotated[
    list[str] | None,
    typer.Option("--check", help="Only this check, by its name in the table; may be given again."),
]
QuickOption = Annotated[
    bool,
    typer.Option("--quick/--full", help="Leave out what takes long, or ask for real generations."),
]


def verify(
    inventory: InventoryArgument,
    host: HostOption = None,
    check: CheckOption = None,
    quick: QuickOption = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show a row for each result.")] = False,
    json: JsonOption = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    ctrf: Annotated[Path | None, typer.Option(help="Write CTRF to this file.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the fleet into this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="The same as pixels.")] = None,
) -> None:
    """Prove that the fleet is what the inventory says; changes nothing on any machine.

    Asks hosts, gateways and mirrors the way a deploy does at its end, over the same SSH settings: with
    one real generation per slice, or in a moment with --quick, which generates nothing. Exit code 1
    when a check fails or a machine cannot be reached, 2 when the inventory or an option is wrong.

    JSON: version, inventory, started, seconds, mode, summary, hosts; docs/verification.schema.json
    describes every key.
    """
    files = {"junit": junit, "ctrf": ctrf, "sarif": sarif, "html": html, "svg": svg, "png": png}
    wanted = {form: path for form, path in files.items() if path}
    with answering(json), interruptible():
        checks = _known(check or [])
        mode = _mode(checks, quick)
        _writable(wanted)
        outcome = _only(_verified(inventory, host or [], mode, json), checks)
        _print(outcome, json, wide)
        _keep(inventory, outcome, wanted, whole=not checks)
        if outcome.failed:
            raise typer.Exit(FAILED)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is no traceback: hosts end by themselves what they were asked, and keep nothing of it."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted. Nothing was changed.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _known(asked: list[str]) -> tuple[str, ...]:
    """Names of checks, as the table spells them. Raises UnknownName with the nearest."""
    from ollama_fleet.catalogue import UnknownName
    from ollama_fleet.checks.kinds import KINDS

    spelled = {name.replace(" ", "-"): name for name in KINDS} | {name: name for name in KINDS}
    for name in asked:
        if name not in spelled:
            near = difflib.get_close_matches(name, KINDS, n=3, cutoff=0.4)
            raise UnknownName("check", name, tuple(near or KINDS))
    return tuple(spelled[name] for name in asked)


def _mode(checks: Sequence[str], quick: bool) -> "Mode":
    """Who asks for quick checks only does not wait for the others."""
    from ollama_fleet.checks.kinds import kind_of

    slow = [name for name in checks if not kind_of(name).quick]
    if quick and slow:
        what = f"--quick leaves out what takes long, and so does not check {', '.join(slow)}"
        raise BadOptionError(f"{what}; leave one of the two out")
    return "quick" if quick or (checks and not slow) else "full"


def _writable(files: Mapping[str, Path]) -> None:
    """Refuse files that cannot be written before anybody is asked; tries it, for rights do not tell all."""
    for form, path in files.items():
        folder = next(at for at in path.absolute().parents if os.path.lexists(at))
        try:
            if path.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
            TemporaryFile(dir=folder).close()
        except OSError as error:
            what = f"--{form} {path}: no file can be written there: {error.strerror}"
            raise BadOptionError(what) from None


def _verified(inventory: Path, hosts: list[str], mode: "Mode", json: bool) -> "Outcome":
    """Raises InputError, and typer.Exit where the inventory is wrong in itself."""
    from ollama_fleet.host.verifying import verify  # before others: it patches the standard library

    # isort: split
    from ollama_fleet.inventory import WrongInventory
    from ollama_fleet.report.console import console

    try:
        with console(sys.stderr).status("", spinner="line") as status:
            return verify(inventory, hosts, mode, status.update)
    except WrongInventory as wrong:  # it has said why
        if json:
            print_json({"error": str(wrong.error), "nearest": [], "exit_code": wrong.code})
        raise typer.Exit(int(str(wrong.code))) from None


def _only(outcome: "Outcome", checks: Sequence[str]) -> "Outcome":
    """The same with results of these checks only; none named: all of them."""
    if not checks:
        return outcome
    hosts = tuple(
        replace(host, results=tuple(one for one in host.results if one.check in checks))
        for host in outcome.hosts
    )
    return replace(outcome, hosts=hosts)


def _print(outcome: "Outcome", json: bool, wide: bool) -> None:
    from ollama_fleet.report.closing import print_closing
    from ollama_fleet.report.table import print_results
    from ollama_fleet.report.verification_json import outcome_document

    if json:
        print_json(outcome_document(outcome))
        return
    print_results(list(outcome.results), sys.stdout, wide)
    print_closing(outcome, sys.stdout)


def _keep(inventory: Path, outcome: "Outcome", files: Mapping[str, Path], whole: bool) -> None:
    """Write what is wished, and keep the run for later pages where it was of all checks."""
    from ollama_fleet.report.files import write_reports
    from ollama_fleet.report.kept_runs import earlier_runs, keep_run

    earlier = earlier_runs(inventory) if "html" in files else ()
    if whole and (wrong := keep_run(inventory, outcome)):
        print(wrong, file=sys.stderr)
    write_reports(outcome, files, earlier)
