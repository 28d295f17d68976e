"""The data files beside this module, read once and row by row.

A table is parsed on first use (milliseconds) and a row becomes a validated value when somebody asks
for it, so one look-up never pays for two hundred models. Imports only this package.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Any

from ollama_fleet.catalogue.gpu import Gpu, MigProfile
from ollama_fleet.catalogue.model import Cache, Model, Recurrent

HERE = Path(__file__).parent
CACHE_FIELDS = ("layers", "kv_heads", "key_length", "value_length", "window")


@cache
def _rows(table: str) -> tuple[dict[str, str], ...]:
    """Rows of a table, each without its empty cells."""
    with (HERE / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            {key: text for key, text in row.items() if text} for row in csv.DictReader(file)
        )


@cache
def model_rows() -> dict[str, dict[str, str]]:
    """Tag to row, absent tags (those with a `nearest`) included."""
    return {row["tag"]: row for row in _rows("models")}


@cache
def model_aliases() -> dict[str, str]:
    """Other names of a file to the tag of its row; a row's own tag wins over an alias."""
    aliases: dict[str, str] = {}
    for tag, row in model_rows().items():
        for alias in row.get("aliases", "").split():
            aliases.setdefault(alias, tag)
    return {alias: tag for alias, tag in aliases.items() if alias not in model_rows()}


@cache
def model(tag: str) -> Model:
    """The model of one row."""
    row: dict[str, Any] = dict(model_rows()[tag])
    for name in ("full", "local"):
        row[name] = _cache(row, name)
    row["recurrent"] = _recurrent(row)
    row["aliases"] = tuple(row.get("aliases", "").split())
    row["tasks"] = frozenset(row.get("tasks", "").split())
    row["tied"], row["file_exact"] = row["tied"] == "1", row["file_exact"] == "1"
    return Model.model_validate(row)


def _cache(row: dict[str, Any], name: str) -> Cache | None:
    """Columns `full_layers`, `full_kv_heads`, … as one value; none where there are no layers."""
    cells = {field: row.pop(f"{name}_{field}", None) for field in CACHE_FIELDS}
    return Cache.model_validate(cells) if cells["layers"] else None


def _recurrent(row: dict[str, Any]) -> Recurrent | None:
    layers, state = row.pop("recurrent_layers", None), row.pop("recurrent_bytes", None)
    return Recurrent(layers=int(layers), bytes_per_sequence=int(state)) if layers else None


@cache
def gpu_rows() -> dict[str, dict[str, str]]:
    """Name to row, in the order of the table."""
    return {row["name"]: row for row in _rows("gpus")}


@cache
def gpu(name: str) -> Gpu:
    """The GPU of one row with the MIG profiles of its family."""
    row = gpu_rows()[name]
    return Gpu.model_validate(row | {"mig_profiles": mig_profiles(row.get("mig_family", ""))})


@cache
def mig_profiles(family: str) -> tuple[MigProfile, ...]:
    """Profiles of a family such as A100-40, smallest first."""
    return tuple(
        MigProfile.model_validate({key: text for key, text in row.items() if key != "family"})
        for row in _rows("mig")
        if row["family"] == family
    )
