"""Grafana's dashboards: of a form that Grafana takes, and with questions that Prometheus takes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from ollama_fleet.monitor.dashboards import WIDTH, dashboard_files, provisioning_files, rows

ROOT = Path(__file__).parents[2]
FILES = {name: json.loads(text) for name, text in dashboard_files().items()}
EXPRESSIONS = [
    (name, panel["title"], target["expr"])
    for name, dashboard in FILES.items()
    for panel in dashboard["panels"]
    for target in panel["targets"]
]
# Of Grafana's own list of units, and ours that it shows as they are.
UNITS = {
    *("short", "bytes", "Bps", "celsius", "percentunit", "reqps", "s", "watt"),
    "suffix:tokens/s",
}


@pytest.mark.parametrize("name", FILES)
def test_the_dashboards_in_docs_are_those_of_the_table(name: str) -> None:
    """`fleet export INVENTORY --to grafana --out FOLDER` writes them anew."""
    assert (ROOT / "docs/dashboards" / name).read_text(encoding="utf-8") == dashboard_files()[name]


@pytest.mark.parametrize("name", FILES)
def test_grafanas_own_types_load_it_and_lose_nothing(name: str) -> None:
    """Of a key that a panel or a query does not have nothing would be left."""
    register_default_plugins()
    loaded = Dashboard.from_json(FILES[name])
    assert not list(lost(FILES[name], json.loads(JSONEncoder().encode(loaded))))
    for panel in loaded.panels or []:
        assert isinstance(panel, Panel) and panel.targets
        assert not isinstance(panel.options, dict) and not isinstance(panel.targets[0], dict)


def lost(ours: Any, loaded: Any, at: str = "") -> Iterator[str]:
    """What of ours is not there, or is something else; what else is there are defaults."""
    if isinstance(ours, dict) and isinstance(loaded, dict):
        for key in ours:
            yield from lost(ours[key], loaded.get(key, "nothing"), f"{at}/{key}")
    elif isinstance(ours, list) and isinstance(loaded, list) and len(ours) == len(loaded):
        for number, pair in enumerate(zip(ours, loaded, strict=True)):
            yield from lost(*pair, f"{at}[{number}]")
    elif ours != loaded:
        yield f"{at}: {ours!r} became {loaded!r}"


def test_dashboards_have_names_that_are_their_own() -> None:
    for key in ("uid", "title"):
        assert len({one[key] for one in FILES.values()}) == len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_panels_lie_beside_each_other_and_within_the_page(name: str) -> None:
    panels = FILES[name]["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    for one in panels:
        place = one["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= WIDTH
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("name", FILES)
def test_panels_show_known_units_and_ask_by_variables_that_the_page_has(name: str) -> None:
    dashboard = FILES[name]
    known = {one["name"] for one in dashboard["templating"]["list"]} | {"__rate_interval"}
    for panel in dashboard["panels"]:
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert len({one["refId"] for one in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert set(re.findall(r"\$([a-z_]\w*)", target["expr"])) <= known, panel["title"]


def test_rows_of_the_table_have_no_key_that_nobody_reads() -> None:
    known = {"title", "kind", "ask", "unit", "wide", "high", "from", "about", "most", "signed"}
    for row in rows():
        assert row.keys() <= {"uid", "title", "about", "variables", "panels"}
        for panel in row["panels"]:
            assert panel.keys() <= known | {"empty", "hide"}, panel


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool: apt-get install prometheus")
def test_promtool_takes_every_question(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": asked(expr)}
        for number, (_, _, expr) in enumerate(EXPRESSIONS)
    ]
    text = yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    (tmp_path / "panels.yml").write_text(text)
    done = subprocess.run(
        ["promtool", "check", "rules", "panels.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def asked(expr: str) -> str:
    """As Grafana asks it, with everything chosen."""
    return re.sub(r"\$(?!__)[a-z]\w*", ".*", expr.replace("$__rate_interval", "1m"))


def test_grafana_is_told_where_prometheus_and_the_dashboards_are() -> None:
    files: dict[str, Any] = {
        name: yaml.safe_load(text)
        for name, text in provisioning_files("http://127.0.0.1:9090").items()
    }
    source = files["provisioning/datasources/ollama-fleet.yml"]["datasources"][0]
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
    assert files["provisioning/dashboards/ollama-fleet.yml"]["providers"][0]["type"] == "file"
