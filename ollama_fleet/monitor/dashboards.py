"""Grafana's dashboards out of the table in templates/monitor/dashboards.yml, as Grafana reads them.

Pure text: the same table gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ollama_fleet.templating import MARKER, TEMPLATES

TABLE = TEMPLATES / "monitor/dashboards.yml"
# Of Grafana 9; later ones take it and make theirs of it.
SCHEMA_VERSION = 37
WIDTH = 24
KINDS = {"graph": "timeseries", "stat": "stat", "table": "table", "bars": "bargauge"}
# Width and height by kind, where the table says nothing else.
SIZES = {"graph": (12, 8), "stat": (4, 4), "table": (24, 8), "bars": (12, 8)}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FOLDER = "/var/lib/grafana/dashboards/ollama"

Row = Mapping[str, Any]


def rows() -> list[Row]:
    """The dashboards of the table."""
    found: list[Row] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return found


def dashboard_files() -> dict[str, str]:
    """Name of each file to its text: the dashboards."""
    return {
        f"{row['uid']}.json": json.dumps(dashboard(row), indent=1, ensure_ascii=False) + "\n"
        for row in rows()
    }


def provisioning_files(url: str) -> dict[str, str]:
    """How a Grafana finds Prometheus at `url`, and the dashboards in FOLDER."""
    source = {
        "apiVersion": 1,
        "datasources": [
            {"name": "Ollama Fleet", "type": "prometheus", "access": "proxy", "url": url}
        ],
    }
    provider = {
        "apiVersion": 1,
        "providers": [
            {
                "name": "ollama-fleet",
                "folder": "Ollama Fleet",
                "type": "file",
                "options": {"path": FOLDER},
            }
        ],
    }
    head = f"# {MARKER.replace('Managed by', 'Written by')}.\n"
    return {
        "provisioning/datasources/ollama-fleet.yml": head + yaml.safe_dump(source, sort_keys=False),
        "provisioning/dashboards/ollama-fleet.yml": head
        + yaml.safe_dump(provider, sort_keys=False),
    }


def dashboard(row: Row) -> dict[str, Any]:
    """One dashboard as Grafana reads it."""
    return {
        "uid": row["uid"],
        "title": row["title"],
        "description": row["about"],
        "tags": ["ollama"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [_link()],
        "templating": {"list": [_source(), *_variables(row.get("variables", {}))]},
        "panels": list(_panels(row["panels"])),
    }


def _link() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Ollama",
        "tags": ["ollama"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _variables(named: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, query in named.items():
        yield {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def _panels(panels: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """From left to right, and below each other where a line is full."""
    x = y = line = 0
    for number, panel in enumerate(panels, start=1):
        wide, high = SIZES[panel.get("kind", "graph")]
        wide, high = panel.get("wide", wide), panel.get("high", high)
        if x + wide > WIDTH:
            x, y, line = 0, y + line, 0
        yield _panel(number, panel, {"x": x, "y": y, "w": wide, "h": high})
        x, line = x + wide, max(line, high)


def _panel(number: int, panel: Row, place: dict[str, int]) -> dict[str, Any]:
    kind = panel.get("kind", "graph")
    return {
        "id": number,
        "type": KINDS[kind],
        "title": panel["title"],
        **({"description": panel["about"]} if "about" in panel else {}),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(kind),
        **({"transformations": [_without(panel["hide"])]} if "hide" in panel else {}),
        "targets": [
            _target(letter, expr, legend, kind)
            for letter, (expr, legend) in zip("ABCDEFGH", panel["ask"].items(), strict=False)
        ],
    }


def _without(columns: Sequence[str]) -> dict[str, Any]:
    """Hides columns of a table."""
    return {"id": "organize", "options": {"excludeByName": dict.fromkeys(columns, True)}}


def _defaults(panel: Row) -> dict[str, Any]:
    first, *rest = panel.get("from", {0: "green"}).items()
    return {
        "unit": panel.get("unit", "short"),
        **({} if panel.get("signed") else {"min": 0}),
        **({"max": panel["most"]} if "most" in panel else {}),
        "color": {"mode": "thresholds" if "from" in panel else "palette-classic"},
        "thresholds": {
            "mode": "absolute",
            # Grafana's first step has no value: it is what all others are above.
            "steps": [
                {"value": None, "color": first[1]},
                *({"value": value, "color": color} for value, color in rest),
            ],
        },
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "graph":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "table":
        return {"showHeader": True}
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
    }


def _target(letter: str, expr: str, legend: str, kind: str) -> dict[str, Any]:
    instant = kind == "table"
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": expr,
        "legendFormat": legend or "__auto",
        "range": not instant,
        "instant": instant,
        **({"format": "table"} if instant else {}),
    }
