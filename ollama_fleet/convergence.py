"""What separates the files and units on a host from the wanted ones; pure comparison.

Imports render's types only. `host.units` asks the host and turns a `Difference` into a script.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ollama_fleet.render import Rendered
from ollama_fleet.templating import UNIT_DIR, HostFile

STOCK_UNIT = "ollama.service"
MANIFEST = "/var/lib/ollama/manifest"


@dataclass(frozen=True)
class UnitState:
    """A unit as `systemctl show` prints it."""

    load: str = "not-found"
    active: str = "inactive"
    enabled: str = ""
    needs_reload: bool = False


@dataclass(frozen=True)
class FilesAndUnits:
    """What of ours is on a host.

    `files` maps a path to (mode, sha256); `interrupted` are the units whose restart an earlier run
    announced and did not finish; `has_account` is whether the service user and its directories are
    there.
    """

    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    units: Mapping[str, UnitState] = field(default_factory=dict)
    interrupted: frozenset[str] = frozenset()
    has_account: bool = False
    manifest: str = ""


@dataclass(frozen=True)
class Difference:
    """What has to happen; every field empty when the host is as wanted."""

    write: tuple[HostFile, ...] = ()
    delete: tuple[str, ...] = ()
    remove_units: tuple[str, ...] = ()
    stop_stock: bool = False
    make_account: bool = False
    enable: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    reload: bool = False
    manifest: str | None = None

    def __bool__(self) -> bool:
        return any(vars(self).values())


def digest(file: HostFile) -> str:
    """sha256 of a file's text."""
    return hashlib.sha256(file.text.encode()).hexdigest()


def manifest_of(wanted: Rendered) -> str:
    """Every file that we own, in the form of sha256sum: `sha256sum -c` on the host shows drift."""
    lines = [f"{digest(file)}  {file.path}\n" for file in wanted.files]
    return "".join(sorted(lines, key=lambda line: line.split("  ")[1]))


def compare(wanted: Rendered, found: FilesAndUnits) -> Difference:
    """What separates `found` from `wanted`."""
    write = tuple(
        file
        for file in wanted.files
        if found.files.get(file.path) != (file.mode.lstrip("0"), digest(file))
    )
    delete = tuple(sorted(set(found.files) - {file.path for file in wanted.files}))
    restart = _restarts(wanted, found, write)
    start = tuple(unit for unit in wanted.units if found_state(found, unit).active != "active")
    manifest = manifest_of(wanted)
    return Difference(
        write=write,
        delete=delete,
        remove_units=tuple(filter(None, map(_unit_of, delete))),
        stop_stock=_runs(found_state(found, STOCK_UNIT)),
        make_account=not found.has_account or any(_makes_account(file) for file in write),
        enable=tuple(
            unit for unit in wanted.units if found_state(found, unit).enabled != "enabled"
        ),
        restart=tuple(unit for unit in restart if unit not in start),
        start=start,
        reload=any(state.needs_reload for state in found.units.values()),
        manifest=manifest if manifest != found.manifest else None,
    )


def found_state(found: FilesAndUnits, unit: str) -> UnitState:
    """State of `unit`; an unknown one is not loaded."""
    return found.units.get(unit, UnitState())


def _restarts(
    wanted: Rendered, found: FilesAndUnits, write: tuple[HostFile, ...]
) -> tuple[str, ...]:
    """Running units whose own text changed, now or in a run that did not get to restart them."""
    changed = {file.restarts for file in write} | found.interrupted
    return tuple(unit for unit in wanted.units if unit in changed)


def _runs(stock: UnitState) -> bool:
    return stock.load == "loaded" and (
        stock.active in ("active", "activating", "reloading") or stock.enabled == "enabled"
    )


def _makes_account(file: HostFile) -> bool:
    return file.path.startswith(("/etc/sysusers.d/", "/etc/tmpfiles.d/"))


def _unit_of(path: str) -> str | None:
    directory, _, name = path.rpartition("/")
    return (
        name if directory == UNIT_DIR and name.endswith((".service", ".target", ".timer")) else None
    )
