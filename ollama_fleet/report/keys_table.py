"""API keys as a table in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

COLOURS = {"active": "green", "expired": "yellow", "revoked": "red"}


def keys_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """A line per key, as `fleet key list --json` has it; its hash by its first digits."""
    table = Table(header_style="bold")
    for column in ("name", "state", "models", "rate", "concurrent", "until", "made", "sha256"):
        table.add_column(column, overflow="fold")
    for row in rows:
        state = row["state"]
        since = f" {row['revoked']}" if row["revoked"] else ""
        table.add_row(
            row["name"],
            f"[{COLOURS[state]}]{state}[/]{since}",
            _models(row),
            row["rate"] or "",
            str(row["concurrent"] or ""),
            row["expires"] or "",
            row["created"],
            f"{row['sha256'][:8]}…",
        )
    return table


def _models(row: Mapping[str, Any]) -> str:
    if row["models"] is None:
        return "all"
    return "\n".join(
        escape(model) + (" (not served)" if model in row["not_served"] else "")
        for model in row["models"]
    )
