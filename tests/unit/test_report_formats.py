"""JUnit, CTRF and SARIF: what the readers of each format need, with any text in it."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.ctrf import ctrf_text
from ollama_fleet.report.junit import junit_text
from ollama_fleet.report.sarif import sarif_text
from ollama_fleet.report.text import fit
from ollama_fleet.yamlfile import read_yaml
from tests.unit.outcomes import HOSTILE, hostile, recorded, well

INVENTORY = """version: 1
hosts:
  gpu01:
    slices:
      - {name: flagship, gpus: [0, 1]}
      - name: code
        gpus: [4]
  gpu02: {}
gateways:
  gw: {host: gpu01}
"""
# Of the XML Schema of Jenkins, which others keep to as well: element to attributes and children.
JUNIT = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname"},
        {"testcase"},
    ),
    "testcase": ({"name", "classname", "time"}, {"error", "failure", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


def junit(outcome: Outcome) -> Xml.Element:
    return Xml.fromstring(junit_text(outcome).encode())


def cases(outcome: Outcome, kind: str) -> list[tuple[str | None, str | None]]:
    return [
        (case.get("classname"), case.get("name"))
        for case in junit(outcome).iter("testcase")
        if case.find(kind) is not None
    ]


@pytest.mark.parametrize("outcome", [recorded(), well(recorded()), hostile()])
def test_junit_has_what_its_readers_know_and_nothing_else(outcome: Outcome) -> None:
    for element in junit(outcome).iter():
        attributes, children = JUNIT[element.tag]
        assert set(element.attrib) == attributes
        assert {child.tag for child in element} <= children


def test_junit_counts_each_machine_for_itself() -> None:
    root = junit(recorded())
    assert [(s.get("name"), s.get("failures"), s.get("errors")) for s in root] == [
        ("gpu01", "14", "0"),
        ("gpu02", "1", "0"),
        ("gpu03", "0", "1"),
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("139", "15", "1")
    datetime.fromisoformat(root[0].get("timestamp") or "")


def test_junit_shows_a_failed_check_with_what_to_do() -> None:
    assert ("gpu01.code", "unit") in cases(recorded(), "failure")
    case = next(
        c for c in junit(recorded()).iter("failure") if c.get("message") == "inactive, enabled"
    )
    assert case.get("type") == "critical"
    assert case.text == (
        "expected: active, enabled\nfound:    inactive, enabled\n"
        "do:       see `journalctl -u ollama-code.service`, then deploy again"
    )


def test_in_junit_a_warning_passes_and_a_silent_machine_is_an_error() -> None:
    assert ("gpu01.chat-b", "in service") in cases(recorded(), "system-out")
    assert cases(recorded(), "error") == [("gpu03.host", "reachable")]


def ctrf(outcome: Outcome) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ctrf_text(outcome))
    return data


@pytest.mark.parametrize("outcome", [recorded(), well(recorded()), hostile()])
def test_ctrf_has_what_its_specification_requires(outcome: Outcome) -> None:
    data = ctrf(outcome)
    assert data["reportFormat"] == "CTRF" and data["specVersion"]
    results = data["results"]
    assert results["tool"]["name"]
    summary = results["summary"]
    states = [test["status"] for test in results["tests"]]
    for status in ("passed", "failed", "pending", "skipped", "other"):
        assert summary[status] == states.count(status)
    assert summary["tests"] == len(states)
    assert summary["stop"] >= summary["start"] > 1_700_000_000_000
    assert all(
        test["name"] and test["duration"] == 0 and test["suite"] for test in results["tests"]
    )


def test_ctrf_says_of_a_failure_what_was_found_and_what_to_do() -> None:
    tests = {test["name"]: test for test in ctrf(recorded())["results"]["tests"]}
    unit = tests["gpu01 code: unit"]
    assert (unit["status"], unit["message"]) == ("failed", "inactive, enabled")
    assert "journalctl -u ollama-code.service" in unit["trace"]
    assert unit["extra"] == {"severity": "critical", "step": "slices", "status": "failed"}
    assert tests["gpu01 chat-b: in service"]["extra"]["status"] == "warning"
    assert tests["gpu03 host: reachable"]["status"] == "failed"


def sarif(outcome: Outcome, folder: Path | None = None) -> dict[str, Any]:
    inventory = None
    if folder:
        (folder / "prod.yml").write_text(INVENTORY, encoding="utf-8")
        inventory = read_yaml(folder / "prod.yml")
    data: dict[str, Any] = json.loads(sarif_text(outcome, inventory))
    assert data["version"] == "2.1.0" and len(data["runs"]) == 1
    run: dict[str, Any] = data["runs"][0]
    return run


@pytest.mark.parametrize("outcome", [recorded(), well(recorded()), hostile()])
def test_sarif_has_a_rule_for_each_result_and_a_fingerprint_of_its_own(outcome: Outcome) -> None:
    run = sarif(outcome)
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == rules
    prints = [result["partialFingerprints"]["fleetCheck/v1"] for result in run["results"]]
    assert len(prints) == len(set(prints))
    assert {result["level"] for result in run["results"]} <= {"error", "warning", "note"}
    for result in run["results"]:
        assert result["message"]["text"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri and " " not in uri and "<" not in uri


def test_sarif_holds_what_is_not_well_only() -> None:
    assert len(sarif(recorded())["results"]) == 15 + 3 + 1
    assert sarif(well(recorded()))["results"] == []
    assert sarif(recorded())["invocations"] == [{"executionSuccessful": False}]


@pytest.mark.parametrize(
    ("subject", "check", "line"),
    [
        ("gpu01 code", "unit", 6),
        ("gpu01 gpu 0000:b1:00.0", "gpu health", 3),
        ("gpu01 gateway gw", "slices", 10),
        ("gpu01 thinking", "inference", 3),
        ("gpu03 host", "reachable", 2),
    ],
)
def test_sarif_points_at_the_line_of_the_inventory(
    tmp_path: Path, subject: str, check: str, line: int
) -> None:
    found = [
        result["locations"][0]["physicalLocation"]
        for result in sarif(recorded(), tmp_path)["results"]
        if result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == subject
        and result["ruleId"] == check
    ]
    assert found and all(place["region"] == {"startLine": line} for place in found)
    assert found[0]["artifactLocation"] == {"uri": "inventory/prod.yml"}


def test_without_a_yaml_inventory_sarif_points_at_the_file() -> None:
    place = sarif(recorded())["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "inventory/prod.yml"}}


def test_control_characters_become_visible_and_directions_stay() -> None:
    assert fit(HOSTILE).endswith("␛[31m␀�[bold]`$(id)`")
    assert fit("a\r\nb\tc") == "a␍\nb\tc"
