"""The --query-* options: a table of fields, printed as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import exits, fields
from .view import Gpu, Host

Rows = Callable[[Host, str | None], Iterable[Any]]


def _gpus(host: Host, wanted: str | None) -> Iterable[Gpu]:
    return host.select(wanted)


def _processes(host: Host, wanted: str | None) -> Iterable[tuple[Gpu, dict[str, Any]]]:
    chosen = (gpu for gpu in host.select(wanted) if not gpu.lost)
    return [(gpu, process) for gpu in chosen for process in gpu.processes]


def _nothing(host: Host, wanted: str | None) -> Iterable[Gpu]:
    return []


QUERIES: dict[str, tuple[dict[str, fields.Field], Rows]] = {
    "--query-gpu": (fields.QUERY_GPU, _gpus),
    "--query-compute-apps": (fields.QUERY_COMPUTE_APPS, _processes),
    "--query-remapped-rows": (fields.QUERY_REMAPPED_ROWS, _gpus),
    "--query-retired-pages": (fields.QUERY_RETIRED_PAGES, _nothing),
}


def show(host: Host, query: str, names: str, formats: str | None, wanted: str | None) -> int:
    every, rows = QUERIES[query]
    unknown = fields.forgotten(host.driver_version)
    table = {name: field for name, field in every.items() if name not in unknown}
    columns = [_canonical(table, name.strip()) for name in names.split(",")]
    style = _style(formats)
    lines = [_line(table, columns, row, style) for row in rows(host, wanted)]
    if "noheader" not in style:
        lines.insert(0, ", ".join(_heading(table, name) for name in columns))
    print("".join(line + "\n" for line in lines), end="")
    return exits.OK


def _canonical(table: dict[str, fields.Field], name: str) -> str:
    """The table's own name for a field that may be given by an older one."""
    renamed = name.replace("clocks_throttle_reasons.", "clocks_event_reasons.")
    for candidate in (renamed, fields.ALIASES.get(renamed, "")):
        if candidate in table:
            return candidate
    raise exits.unknown_field(name)


def _style(formats: str | None) -> set[str]:
    style = {part.strip() for part in (formats or "").split(",")}
    if "csv" not in style:
        text = "\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n\n"
        raise exits.Exit(exits.INVALID_ARGUMENT, text)
    for part in style - {"csv", "noheader", "nounits"}:
        raise exits.invalid_option(f"--format={part}")
    return style


def _heading(table: dict[str, fields.Field], name: str) -> str:
    unit = table[name][0]
    return f"{name} [{unit}]" if unit else name


def _line(table: dict[str, fields.Field], columns: list[str], row: Any, style: set[str]) -> str:
    return ", ".join(_cell(name, table[name], row, "nounits" not in style) for name in columns)


def _cell(name: str, field: fields.Field, row: Any, with_unit: bool) -> str:
    if isinstance(row, Gpu) and row.lost and name not in fields.KNOWN_WHEN_LOST:
        return fields.LOST
    unit, read = field
    value = read(row)
    if value is None:
        return "[N/A]"
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return f"{text} {unit}" if unit and with_unit and not isinstance(value, str) else text
