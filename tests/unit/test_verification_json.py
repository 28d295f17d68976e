"""The JSON of a verification: a schema in step, a way back, and a refusal in words."""

import json
from dataclasses import fields, replace
from pathlib import Path

import jsonschema
import pytest

from ollama_fleet.checks import outcome as values
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.report import verification_document as document
from ollama_fleet.report.verification_json import (
    outcome_document,
    outcome_text,
    read_outcome,
    verification_schema,
)
from tests.unit.outcomes import hostile, recorded, well

FILE = Path(__file__).parents[2] / "docs/verification.schema.json"


def test_schema_file_is_up_to_date() -> None:
    """Run `fleet schema --verification > docs/verification.schema.json` when this fails."""
    assert json.loads(FILE.read_text(encoding="utf-8")) == verification_schema()


def test_every_key_has_a_description() -> None:
    schema = verification_schema()
    models = [schema, *schema["$defs"].values()]
    assert not [
        (model["title"], key)
        for model in models
        for key, value in model["properties"].items()
        if "description" not in value
    ]


@pytest.mark.parametrize("outcome", [recorded(), well(recorded()), hostile()])
def test_a_verification_keeps_to_its_schema_and_comes_back_as_it_was(
    outcome: values.Outcome,
) -> None:
    data = outcome_document(outcome)
    jsonschema.Draft202012Validator(verification_schema()).validate(data)
    assert read_outcome(json.loads(json.dumps(data))) == outcome


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (CheckResult, document.ResultPart),
        (values.InstanceSight, document.InstancePart),
        (values.GpuSight, document.GpuPart),
        (values.SliceSight, document.SlicePart),
        (values.HostOutcome, document.HostPart),
        (values.Outcome, document.VerificationDocument),
    ],
)
def test_nothing_of_an_outcome_is_left_out(value: type, part: type[document.Part]) -> None:
    assert {field.name for field in fields(value)} <= set(part.model_fields)


def test_a_document_of_a_later_program_is_still_read() -> None:
    data = outcome_document(recorded())
    data["hosts"][0]["colour"] = "green"
    assert read_outcome(data) == recorded()


@pytest.mark.parametrize("broken", [{}, [], "x", {"version": 2}, {"version": 1, "hosts": 3}])
def test_what_is_no_verification_is_refused_in_one_line(broken: object) -> None:
    with pytest.raises(ValueError, match=r"no verification of version 1: .*; run `fleet verify"):
        read_outcome(broken)


def test_half_a_character_does_not_break_the_file() -> None:
    host = recorded().hosts[0]
    odd = replace(host, results=(replace(host.results[0], found="a\udcffb"),))
    text = outcome_text(replace(recorded(), hosts=(odd,)))
    assert json.loads(text.encode())["hosts"][0]["results"][0]["found"] == "a?b"


def test_counts_and_severities_are_there_for_scripts() -> None:
    data = outcome_document(recorded())
    assert data["summary"] == {
        "hosts": 3, "hosts_failed": 2, "unreachable": 1,
        "checks": 138, "ok": 120, "warnings": 3, "failed": 15,
    }  # fmt: skip
    unit = next(r for r in data["hosts"][0]["results"] if r["check"] == "unit")
    assert (unit["severity"], unit["step"]) == ("critical", "slices")
