"""Exporters for Prometheus as distributions have them: package, program, and what it would start by itself.

The rows are in `distributions.yml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ollama_fleet.catalogue.distribution import exporter_rows


@dataclass(frozen=True)
class Exporter:
    """One exporter: `packages` by packager, and the places where its program may lie."""

    name: str
    packages: Mapping[str, str]
    programs: tuple[str, ...]

    @property
    def test(self) -> str:
        """Shell that fails where it is not installed."""
        return " || ".join(f"[ -x {program} ]" for program in self.programs)


def exporter(name: str) -> Exporter:
    """The exporter of this name."""
    rows = exporter_rows()[name]
    programs = [program for row in rows.values() for program in row["programs"]]
    return Exporter(
        name,
        {packager: row["package"] for packager, row in rows.items()},
        tuple(dict.fromkeys(programs)),
    )


def started_services() -> dict[str, tuple[str, ...]]:
    """Package to the services that it would start at once, in the open."""
    return {
        row["package"]: tuple(row["services"])
        for rows in exporter_rows().values()
        for row in rows.values()
    }
