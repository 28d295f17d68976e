"""A verification for programs: `fleet verify --json`, its schema, and the way back to a value for history."""

import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import counts
from ollama_fleet.report.verification_document import VERSION, VerificationDocument


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Plain data with stable keys."""
    found = {
        "version": VERSION,
        "inventory": outcome.inventory,
        "started": outcome.started,
        "seconds": round(outcome.seconds, 3),
        "mode": outcome.mode,
        "summary": asdict(counts(outcome)),
        "hosts": [_host(host) for host in outcome.hosts],
    }
    return VerificationDocument.model_validate(found).model_dump(mode="json")


def outcome_text(outcome: Outcome) -> str:
    """The same as a file; halves of characters, which no file can hold, as question marks."""
    text = json.dumps(outcome_document(outcome), indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace").decode()


def read_outcome(document: Any) -> Outcome:
    """The value again. Raises ValueError for what is no verification of this version."""
    try:
        read = VerificationDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        said = f"no verification of version {VERSION}: {where}: {first['msg']}; run `fleet verify --json`"
        raise ValueError(said) from None
    return _outcome().validate_python(read.model_dump())


def verification_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **VerificationDocument.model_json_schema(mode="serialization"),
    }


def _host(host: HostOutcome) -> dict[str, Any]:
    rest = asdict(replace(host, results=()))
    return {**rest, "results": [_result(result) for result in host.results]}


def _result(result: CheckResult) -> dict[str, Any]:
    kind = kind_of(result.check)
    return {**asdict(result), "severity": kind.severity, "step": kind.step}


@cache
def _outcome() -> TypeAdapter[Outcome]:
    """Made when a history is read; a deploy only writes one."""
    return TypeAdapter(Outcome)
