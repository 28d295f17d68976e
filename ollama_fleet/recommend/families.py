"""When each family of models appeared: a table of approximate months, as half-years.

The months are from general knowledge and public announcements, not from any file's metadata; only
their half-year counts. A tag of its own in the table goes before its family.
"""

import csv
from functools import cache
from pathlib import Path

from ollama_fleet.catalogue import Model

TABLE = Path(__file__).with_name("families.csv")
# Half-years are counted from the first half of 2023, when the oldest of them appeared.
FIRST_YEAR = 2023
# A model of no known family, such as a user's own, is taken for this old.
UNKNOWN = "2025-01"


@cache
def released() -> dict[str, str]:
    """Family, or tag, to month (2025-04)."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["released"] for row in csv.DictReader(file)}


def release_month(model: Model) -> str | None:
    """About when it appeared; None for a family that is not in the table."""
    family = model.tag.partition(":")[0]
    return released().get(model.tag) or released().get(family)


def generation(model: Model) -> int:
    """Half-years since the beginning of 2023."""
    year, month = map(int, (release_month(model) or UNKNOWN).split("-"))
    return 2 * (year - FIRST_YEAR) + (month - 1) // 6
