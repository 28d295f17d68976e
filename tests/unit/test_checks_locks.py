"""Verification of the weights themselves: locked ones, and what should be alike on all hosts."""

import io
import json
from dataclasses import replace

import pytest

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge
from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.questions import Answer
from ollama_fleet.report.table import print_results
from tests.unit.drift_answers import clean
from tests.unit.test_checks import PLAN, assembled, failures, healthy

DIGESTS = {"qwen3:8b": "ab" * 32, "qwen2.5-coder:7b": "cd" * 32}


def judged(host: str = "gpu01", locked: tuple[str, ...] = (), **found: str) -> list[CheckResult]:
    """Results of a healthy host that has `found` in place of what is locked."""
    has = DIGESTS | found
    tags = json.dumps({"models": [{"name": name, "digest": one} for name, one in has.items()]})
    texts = healthy()
    bare = json.dumps({"models": [{"name": model} for model in PLAN.models]})
    assert bare in texts["api"]
    texts["api"] = texts["api"].replace(bare, tags)
    locks = tuple(LockedModel(name, DIGESTS[name], "{}") for name in locked)
    plan = replace(PLAN, host=host, store=replace(PLAN.store, locked=locks))
    told = assembled(texts | clean(plan, texts))
    return judge(plan, {name: Answer(text) for name, text in told.items()})


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_weights_as_locked_are_well(prefix: str) -> None:
    results = judged(locked=("qwen3:8b",), **{"qwen3:8b": prefix + DIGESTS["qwen3:8b"]})
    assert failures(results) == []
    assert [one.found for one in results if one.check == "locked weights"] == ["1 models as locked"]


def test_other_weights_under_a_locked_name_fail() -> None:
    results = judged(locked=tuple(DIGESTS), **{"qwen3:8b": "0" * 64})
    assert failures(results) == [("host", "locked weights")]
    (result,) = (one for one in results if one.failed)
    assert result.found == f"qwen3:8b is {'0' * 12}, not {'ab' * 6}"
    assert "fleet lock --update" in result.remedy


def test_models_that_nobody_locked_may_be_anything() -> None:
    results = judged(**{"qwen3:8b": "0" * 64})
    assert failures(results) == []
    assert "locked weights" not in {one.check for one in results}


def shown(*hosts: list[CheckResult]) -> str:
    stream = io.StringIO()
    print_results([result for results in hosts for result in results], stream)
    return " ".join(stream.getvalue().split())


def test_hosts_that_differ_in_an_unlocked_model_are_told() -> None:
    said = shown(judged("a"), judged("b"), judged("c", **{"qwen3:8b": "0" * 64}))
    assert f"qwen3:8b is not the same on all hosts: {'ab' * 6} on a, b; {'0' * 12} on c" in said
    assert "qwen2.5-coder:7b is not the same" not in said
    assert "not the same" not in shown(judged("a"), judged("b"))
    locked = judged("c", locked=("qwen3:8b",), **{"qwen3:8b": "0" * 64})
    assert "not the same" not in shown(judged("a"), locked)
