"""`fleet models` and `fleet gpus`."""

import pytest

from ollama_fleet.catalogue import all_gpus, all_models
from tests.unit.fleet_cli import fleet, fleet_json


def test_every_model_is_listed() -> None:
    told = fleet_json("models")["models"]
    assert [row["tag"] for row in told] == [model.tag for model in all_models()]
    text = fleet("models").stdout
    assert f"{len(told)} models." in text
    assert all(row["tag"] in text for row in told)


def test_models_are_found_by_part_of_a_tag_and_by_task() -> None:
    rows = fleet_json("models", "qwen3", "--task", "code")["models"]
    assert rows and all("qwen3" in row["tag"] and "code" in row["tasks"] for row in rows)


def test_a_model_says_what_it_takes_at_several_contexts() -> None:
    (row,) = fleet_json("models", "qwen3:8b")["models"]
    assert list(row["total_mib"]) == ["4096", "32768", "40960"]
    assert row["total_mib"]["4096"] < row["total_mib"]["40960"]


def test_a_model_is_found_by_its_alias() -> None:
    assert "deepseek-r1:8b" in fleet("models", "deepseek-r1:latest").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models", "qwen3:9b"], "qwen3:8b"),
        (["models", "llama3:13b"], "llama3:8b"),
        (["models", "--task", "cooking"], "tasks are chat"),
        (["models", "codellama", "--task", "chinese"], "is for chinese"),
        (["gpus", "RTX 3099"], "RTX 30"),
    ],
)
def test_what_does_not_exist_is_answered_with_the_nearest(words: list[str], said: str) -> None:
    assert said in fleet(*words, code=2).stderr
    assert said in fleet_json(*words, code=2)["error"]


def test_every_gpu_is_listed() -> None:
    told = fleet_json("gpus")["gpus"]
    assert [row["name"] for row in told] == [gpu.name for gpu in all_gpus()]
    assert f"{len(told)} GPUs." in fleet("gpus").stdout


def test_gpus_are_found_by_words_in_any_order_and_by_size() -> None:
    assert len(fleet_json("gpus", "80GB a100")["gpus"]) == 2
    names = [row["name"] for row in fleet_json("gpus", "3090")["gpus"]]
    assert names == ["NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090 Ti"]


def test_a_gpu_lists_its_mig_profiles() -> None:
    (row,) = fleet_json("gpus", "A30")["gpus"]
    assert "1g.6gb" in row["mig"] and row["usable_mib"] < row["vram_mib"]
