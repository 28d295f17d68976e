"""The alert rules in the real promtool: each fires after its time and says what it should, not a step
earlier, and never where the number stays just within its limit."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.metrics.catalogue import METRICS
from ollama_fleet.monitor.dashboards import TABLE
from tests.unit.test_pages import anchors

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "templates/monitor/rules").glob("*.yml"))
CASES: dict[str, dict[str, Any]] = {
    name: case
    for path in sorted((Path(__file__).parent / "alerts").glob("*.yml"))
    for name, case in yaml.safe_load(path.read_text(encoding="utf-8")).items()
}
ALERTS: dict[str, dict[str, Any]] = {}
FILE_OF: dict[str, Path] = {}
for path in RULES:
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                ALERTS[rule["alert"]], FILE_OF[rule["alert"]] = rule, path
# Of the timer by which hosts check themselves.
SELFCHECK = {"ollama_selfcheck_changed", "ollama_selfcheck_time_seconds"}
real = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool: apt-get install prometheus"
)


def promtool(*words: object, cwd: Path) -> None:
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert set(CASES) == set(ALERTS)
    for name, case in CASES.items():
        assert {"series", "fires", "labels"} <= case.keys(), name
        assert case.get("silent") or case.get("before"), name


def test_every_alert_says_what_is_wrong_what_to_do_and_where_to_read_on() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"].keys() == {"severity"}, name
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}, name
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(ROOT / page), name
        assert len(rule["annotations"]["description"]) > 60, name


@real
def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", *RULES, cwd=ROOT)


@real
@pytest.mark.parametrize("name", ALERTS)
def test_alert(name: str, tmp_path: Path) -> None:
    case, interval = CASES[name], CASES[name].get("interval", "1m")
    tests = [_fires(name, case, interval)]
    if before := case.get("before"):
        tests.append(_silent(name, case["series"], before, interval))
    for other in case.get("silent", ()):
        # What is not said again is as in the case that fires.
        tests.append(_silent(name, case["series"] | other, case["fires"], interval))
    document = {"rule_files": [str(FILE_OF[name])], "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", "test.yml", cwd=tmp_path)


def _fires(name: str, case: Mapping[str, Any], interval: str) -> dict[str, Any]:
    rule = ALERTS[name]
    said = {key: _filled(text, case) for key, text in rule["annotations"].items()}
    labels = {key: str(text) for key, text in case["labels"].items()} | rule["labels"]
    expected = [{"exp_labels": labels, "exp_annotations": said}]
    return _test(name, case["series"], case["fires"], interval, expected)


def _silent(name: str, series: Mapping[str, str], at: str, interval: str) -> dict[str, Any]:
    return _test(name, series, at, interval, [])


def _test(
    name: str, series: Mapping[str, str], at: str, interval: str, expected: list[Any]
) -> dict[str, Any]:
    return {
        "interval": interval,
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": expected}],
    }


def _filled(text: str, case: Mapping[str, Any]) -> str:
    """An annotation as Prometheus fills it in; `said` is how it writes the value."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: str(case["labels"][found[1]]), text)
    return re.sub(r"{{ \$value[^}]*}}", lambda _: str(case["said"]), text)


def test_the_page_for_users_has_every_alert_with_its_severity() -> None:
    text = (ROOT / "docs/prometheus.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (Ollama\w+) \| (\w+) \|", text, re.M))
    assert rows == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}


def test_rules_and_dashboards_ask_for_metrics_that_hosts_show() -> None:
    """A misspelled one would be an alert that never fires; who writes the others is another's to know."""
    shown = {metric.name for metric in METRICS} | SELFCHECK
    texts = [path.read_text(encoding="utf-8") for path in (*RULES, TABLE)]
    asked = set(re.findall(r"\b(?<!/)ollama_\w+(?=[{\[ )])", "".join(texts)))
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= shown
