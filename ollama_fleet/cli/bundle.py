"""`fleet bundle`: everything that a fleet needs in a folder, for hosts that reach nothing else."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.bundled import announce, report, size
from ollama_fleet.cli.ending import (
    FAILED,
    REFUSED,
    BadOptionError,
    HostError,
    JsonOption,
    answering,
    fail,
    print_json,
)

if TYPE_CHECKING:
    from ollama_fleet.bundle.fetch import Survey
    from ollama_fleet.bundle.folder import Folder
    from ollama_fleet.bundle.wanted import Scope

# Left free on the disk when all is there.
MARGIN_BYTES = 100 * 10**6

InventoryArgument = Annotated[
    Path | None, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="The bundle's folder.")]
HostOption = Annotated[
    list[str] | None,
    typer.Option(help="Only for these hosts: a name, or a pattern such as gpu0*; may be repeated."),
]
DistributionOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Distribution of the hosts, by the name that NVIDIA's repositories have for it (a wrong one "
        "shows them all), for the driver and the container toolkit; may be repeated."
    ),
]
ArchOption = Annotated[
    list[str] | None,
    typer.Option(help="Architecture of the hosts; default amd64; may be repeated."),
]
ParallelOption = Annotated[int, typer.Option(min=1, max=32, help="Files fetched at once.")]
DryOption = Annotated[bool, typer.Option("--dry", help="Only say what it would take.")]
VerifyOption = Annotated[
    Path | None,
    typer.Option(help="Check every file of this bundle against its CHECKSUMS; fetch nothing."),
]


def bundle(
    inventory: InventoryArgument = None,
    output: OutputOption = None,
    host: HostOption = None,
    distribution: DistributionOption = None,
    arch: ArchOption = None,
    parallel: ParallelOption = 4,
    dry: DryOption = False,
    verify: VerifyOption = None,
    json: JsonOption = False,
) -> None:
    """Fetch everything that a fleet needs into a folder: Ollama, models, driver, container toolkit.

    Every file is checked against its sha256, a download that broke off goes on where it was, and a
    second run fetches only what is new. What cannot be had is said, and the rest is fetched; then
    exit code 1. Exit code 3 when the disk is too small. Packages of the distribution itself are not
    in it: they come from your mirror of that.
    Example: fleet bundle inventory/prod.yml -o /media/usb/bundle --distribution debian12

    JSON: folder, files, bytes, missing_bytes (before), fetched (files), parts, unlocked (models),
    failures (what, why); with --verify: files, broken, unlisted.
    """
    failed = False
    with answering(json):
        if verify:
            if inventory or output:
                raise BadOptionError("--verify takes a bundle's folder, and no inventory")
            failed = _verify(verify, json)
        else:
            if inventory is None or output is None:
                raise BadOptionError(
                    "give an inventory, and -o DIR; or --verify DIR of a bundle that is there"
                )
            path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
            scope = _scope(path, host or [], distribution or [], arch or ["amd64"])
            failed = _make(scope, output, parallel, dry, json)
    if failed:
        raise typer.Exit(FAILED)


def _scope(
    path: Path, patterns: Sequence[str], distributions: Sequence[str], arches: Sequence[str]
) -> "Scope":
    """What the bundle is for, as a deploy of the inventory would see it."""
    from ollama_fleet.bundle.wanted import MACHINES, Scope
    from ollama_fleet.catalogue.distribution import UnsupportedDistributionError, distribution_named
    from ollama_fleet.cli.rendering import release_of
    from ollama_fleet.kept_plan import read_kept
    from ollama_fleet.load import load_fleet
    from ollama_fleet.model_lock import read_lock, with_lock
    from ollama_fleet.originals import with_originals
    from ollama_fleet.planner.fleet import plan_fleet

    fleet = with_originals(load_fleet(path))
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in fleet.hosts):
            raise BadOptionError(
                f"no host is named '{pattern}'; there are {', '.join(fleet.hosts)}"
            )
    for arch in arches:
        if arch not in MACHINES:
            raise BadOptionError(
                f"no architecture is called '{arch}'; there are {', '.join(MACHINES)}"
            )
    for name in distributions:
        try:
            distribution_named(name, MACHINES[arches[0]])
        except UnsupportedDistributionError as error:
            raise BadOptionError(str(error)) from None
    planned = plan_fleet(fleet, previous=read_kept(path)).required(path.name)
    plans = {
        name: replace(plan, release=release_of(fleet, name, path.parent)[0])
        for name, plan in with_lock(planned.hosts, read_lock(path)).items()
        if plan.removal is None
        and (not patterns or any(fnmatch(name, pattern) for pattern in patterns))
    }
    return Scope(plans, list(dict.fromkeys(arches)), list(dict.fromkeys(distributions)))


def _make(scope: "Scope", output: Path, parallel: int, dry: bool, json: bool) -> bool:
    """Make the bundle; whether anything is missing in it."""
    from ollama_fleet.bundle.checksums import write_checksums
    from ollama_fleet.bundle.fetch import fetch, survey
    from ollama_fleet.bundle.folder import Folder, FolderError
    from ollama_fleet.bundle.item import PartError
    from ollama_fleet.bundle.wanted import look_up, lookups
    from ollama_fleet.registry import Registry
    from ollama_fleet.report.transfers import Transfers

    try:
        with _doing("asking the sources"):
            parts, failures = look_up(lookups(scope, Registry()))
        folder = Folder(output)
        with nullcontext() if dry else folder.claimed():
            with _doing("looking what is there"):
                found = survey(folder, parts)
            if not json:
                announce(scope, parts, found, output)
            _refuse_too_small(folder, found, json)
            if not dry:
                with Transfers(found.wanted_bytes) as bars:
                    failures += fetch(folder, parts, found, bars, parallel)
                write_checksums(folder)
    except PartError as error:
        raise BadOptionError(str(error)) from None
    except FolderError as error:
        raise HostError(str(error)) from None
    report(scope, parts, found, failures, output, dry, json)
    return bool(failures)


def _refuse_too_small(folder: "Folder", found: "Survey", json: bool) -> None:
    free = folder.free_bytes()
    if found.wanted_bytes + MARGIN_BYTES > free:
        raise fail(
            f"{size(found.wanted_bytes)} are still to come and {size(free)} are free at "
            f"{folder.root}; make room, take another disk, or bundle fewer hosts with --host",
            REFUSED,
            json,
        )


def _verify(folder: Path, json: bool) -> bool:
    import sys

    from ollama_fleet.bundle.checksums import verify

    try:
        with _doing("reading every file"):
            verdict = verify(folder)
    except ValueError as error:
        raise BadOptionError(str(error)) from None
    if json:
        print_json({"files": verdict.files, "broken": verdict.broken, "unlisted": verdict.unlisted})
        return bool(verdict.broken)
    for words in verdict.broken:
        print(words, file=sys.stderr)
    if verdict.unlisted:
        print(f"not in CHECKSUMS: {', '.join(verdict.unlisted)}")
    print(f"{verdict.files} files, {len(verdict.broken)} broken", end="")
    print("; delete these and run `fleet bundle` again" if verdict.broken else "")
    return bool(verdict.broken)


def _doing(what: str) -> Any:
    """Says what goes on, for as long as it does, where somebody looks."""
    import sys

    from rich.console import Console

    return Console(file=sys.stderr).status(what)
