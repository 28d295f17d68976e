"""What is not well as SARIF 2.1.0, which code hosts show beside the lines of the inventory.

Rules are kinds of checks, results are failures and warnings; a result stands at the line of its slice,
gateway, mirror or host where the inventory is YAML, else at the file.
"""

import json
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.junit import REACHED, explained
from ollama_fleet.report.text import fit, one_line
from ollama_fleet.yamlfile import Loc, YamlFile

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Sections of the inventory that may hold a machine, in the order in which they are looked at.
SECTIONS = {"gateway": "gateways", "mirror": "mirrors", "monitor": "monitors"}


def sarif_text(outcome: Outcome, inventory: YamlFile | None = None) -> str:
    """The file; `inventory` is what was read, so that results have lines."""
    found = [_result(outcome, result, inventory) for result in _findings(outcome)]
    run = {
        "tool": {
            "driver": {
                "name": "Ollama Fleet",
                "rules": _rules({result["ruleId"] for result in found}),
            }
        },
        "invocations": [{"executionSuccessful": not any(host.error for host in outcome.hosts)}],
        "columnKind": "unicodeCodePoints",
        "results": found,
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _findings(outcome: Outcome) -> list[CheckResult]:
    return [
        result
        for host in outcome.hosts
        for result in (*_unreachable(host), *host.results)
        if result.status != "ok"
    ]


def _unreachable(host: HostOutcome) -> list[CheckResult]:
    """A machine that could not be asked, as a result like the others."""
    words = ("it can be asked", host.error, "see whether it is up, and `ssh` to it by hand")
    return [CheckResult(host.host, "host", REACHED, "failed", *words)] if host.error else []


def _rules(checks: set[str]) -> list[dict[str, Any]]:
    rules = []
    for check in sorted(checks):
        kind = kind_of(check)
        about = {"text": kind.what or check}
        rules.append(
            {
                "id": check,
                "shortDescription": about,
                "defaultConfiguration": {"level": _level(kind.severity)},
                "properties": {"severity": kind.severity, "tags": [kind.step]},
            }
        )
    return rules


def _level(severity: str) -> str:
    return "warning" if severity == "minor" else "error"


def _result(outcome: Outcome, result: CheckResult, inventory: YamlFile | None) -> dict[str, Any]:
    where = f"{result.host} {result.subject}"
    # A gateway has one result for each slice that it misses: `expected` tells them apart.
    same = (result.host, result.subject, result.check, result.expected)
    mark = sha256("\0".join(same).encode("utf-8", "replace")).hexdigest()
    return {
        "ruleId": one_line(result.check),
        "level": _level(kind_of(result.check).severity) if result.failed else "note",
        "message": {"text": fit(f"{where}: {result.check}\n{explained(result)}")},
        "locations": [_location(outcome, result, inventory)],
        "partialFingerprints": {"fleetCheck/v1": mark},
    }


def _location(outcome: Outcome, result: CheckResult, inventory: YamlFile | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(fit(outcome.inventory))}}
    line = inventory and inventory.line_of(_loc(result, inventory))
    if line:
        place["region"] = {"startLine": line}
    name = one_line(f"{result.host} {result.subject}")
    return {"physicalLocation": place, "logicalLocations": [{"fullyQualifiedName": name}]}


def _loc(result: CheckResult, inventory: YamlFile) -> Loc:
    """Where the inventory speaks of what a result is about."""
    role, _, name = result.subject.partition(" ")
    if role in SECTIONS and name:
        return (SECTIONS[role], name)
    host: Loc = ("hosts", result.host)
    for section in ("slices", "wishes"):
        for number, item in enumerate(_items(inventory.value, *host, section)):
            if isinstance(item, dict) and item.get("name") == result.subject:
                return (*host, section, number)
    return host


def _items(value: Any, *keys: str | int) -> list[Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []
