"""Ollama's store: names, manifests, and what counts as a whole model."""

import json
import subprocess

import pytest

from ollama_fleet.host.models import broken_blobs, missing_models, pull_script
from ollama_fleet.questions import Answer
from ollama_fleet.store import is_complete, parse_name
from tests.unit.examples import host_plan

MANIFEST = json.dumps(
    {"config": {"digest": "sha256:aa", "size": 3}, "layers": [{"digest": "sha256:bb", "size": 7}]}
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("qwen3", "registry.ollama.ai/library/qwen3/latest"),
        ("qwen3:8b", "registry.ollama.ai/library/qwen3/8b"),
        ("user/model:x", "registry.ollama.ai/user/model/x"),
        ("hf.co/user/repo:Q4_K_M", "hf.co/user/repo/Q4_K_M"),
        ("10.0.0.1:5000/library/qwen3:8b", "10.0.0.1:5000/library/qwen3/8b"),
        ("10.0.0.1:5000/library/qwen3", "10.0.0.1:5000/library/qwen3/latest"),
    ],
)
def test_names_lie_where_ollama_puts_them(name: str, path: str) -> None:
    assert parse_name(name).path == path


def test_a_model_is_there_only_with_all_its_blobs_in_full_size() -> None:
    assert is_complete(MANIFEST, {"sha256-aa": 3, "sha256-bb": 7})
    assert not is_complete(MANIFEST, {"sha256-aa": 3, "sha256-bb": 6})
    assert not is_complete(MANIFEST, {"sha256-aa": 3})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layers": 3}', "cat: no such file"])
def test_a_broken_manifest_is_no_model(text: str) -> None:
    assert not is_complete(text, {})


def test_only_missing_models_are_pulled() -> None:
    answers = {
        "blobs": Answer("sha256-aa 3\nsha256-bb 7"),
        "qwen3:8b": Answer(MANIFEST),
        "x:1": Answer("", 1),
    }
    assert missing_models(("qwen3:8b", "x:1"), answers) == ["x:1"]


def test_a_blob_of_a_wrong_size_is_removed_before_the_pull() -> None:
    """Ollama never looks into a blob that is there: it would keep the broken one."""
    answers = {"blobs": Answer("sha256-aa 3\nsha256-bb 6\nsha256-cc 1"), "m:1": Answer(MANIFEST)}
    assert broken_blobs(["m:1"], answers) == ["sha256-bb"]
    script = pull_script(["m:1"], ["sha256-bb"], host_plan())
    assert "rm -f /var/lib/ollama/models/blobs/sha256-bb" in script


def test_a_mirror_is_asked_by_its_own_name_and_the_model_keeps_the_short_one() -> None:
    from dataclasses import replace

    plan = host_plan({"name": "a", "gpus": [0], "models": ["qwen3:8b"]})
    plan = replace(plan, release=replace(plan.ollama, registry="http://10.0.0.1:5000"))
    script = pull_script(["qwen3:8b", "hf.co/u/r:Q4"], [], plan)
    request = '{"model": "10.0.0.1:5000/library/qwen3:8b", "insecure": true}'
    assert f"pull qwen3:8b 10.0.0.1:5000/library/qwen3:8b '{request}' " in script
    assert "pull hf.co/u/r:Q4 hf.co/u/r:Q4" in script


def test_the_script_is_a_script() -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["qwen3:8b"]})
    subprocess.run(["sh", "-n"], input=pull_script(["qwen3:8b"], [], plan), text=True, check=True)
