"""The items that -q prints, and reading their values from the table of query fields, so that the
report and --query-gpu cannot disagree."""

from __future__ import annotations

from collections.abc import Callable

from .fields import QUERY_GPU, QUERY_REMAPPED_ROWS
from .view import Gpu

Item = tuple[str, str, str | list["Item"]]  # label, XML tag, value or children


def reader(gpu: Gpu) -> Callable[[str], str]:
    def read(name: str) -> str:
        unit, value_of = QUERY_GPU.get(name) or QUERY_REMAPPED_ROWS[name]
        value = value_of(gpu)
        if value is None:
            return "N/A"
        text = f"{value:.2f}" if isinstance(value, float) else str(value).strip("[]")
        return f"{text} {unit}" if unit and not isinstance(value, str) else text

    return read
