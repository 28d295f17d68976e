"""Which models a slice loads by itself, and which slice `ollama` on a host means."""

from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.plan import HostPlan, Preloaded
from ollama_fleet.spec.fleet import Fleet
from tests.unit.test_planner import TWO, written

ROOT = Path(__file__).parents[2]


def host(*slices: dict[str, Any], wishes: tuple[dict[str, Any], ...] = (), **more: Any) -> HostPlan:
    spec = TWO | {"slices": list(slices), "wishes": list(wishes)} | more
    fleet = Fleet.model_validate({"version": 1, "hosts": {"a": spec}})
    return plan_fleet(fleet).required().hosts["a"]


def preload(*slices: dict[str, Any], **more: Any) -> list[str]:
    return [one.model for one in host(*slices, **more).slices[0].preload]


@pytest.mark.parametrize(
    ("settings", "loaded"),
    [
        ({}, ["qwen3:8b", "nomic-embed-text:latest"]),
        ({"preload": False}, []),
        ({"preload": []}, []),
        ({"preload": ["nomic-embed-text"]}, ["nomic-embed-text:latest"]),
        ({"keep_alive": 0}, []),
        ({"keep_alive": "0s"}, []),
        ({"keep_alive": "10m"}, ["qwen3:8b", "nomic-embed-text:latest"]),
        ({"env": {"OLLAMA_MAX_LOADED_MODELS": 1}}, ["qwen3:8b"]),
        ({"env": {"OLLAMA_MAX_LOADED_MODELS": 0}}, ["qwen3:8b", "nomic-embed-text:latest"]),
    ],
)
def test_all_models_are_loaded_unless_it_is_said_otherwise(
    settings: dict[str, Any], loaded: list[str]
) -> None:
    assert preload(written("qwen3:8b", "nomic-embed-text", **settings)) == loaded


def test_a_model_gets_no_more_context_than_it_was_trained_for() -> None:
    (item,) = host(written("qwen3:8b", "nomic-embed-text", "hf.co/me/mine:Q4", context=8192)).slices
    assert item.preload == (
        Preloaded("qwen3:8b", 8192, 40960),
        Preloaded("nomic-embed-text:latest", 2048, 2048),
        Preloaded("hf.co/me/mine:Q4", 8192, None),
    )


def test_models_that_would_evict_each_other_are_not_both_loaded_and_that_is_said() -> None:
    both = written("gemma3:12b", "phi4:14b", context=16384, kv_cache="q8_0")
    plan = host(both)
    assert [one.model for one in plan.slices[0].preload] == ["gemma3:12b"]
    assert any("loads gemma3:12b by itself, and phi4:14b only when" in n for n in plan.notes)
    # Who says which has thought about it.
    chosen = both | {"preload": ["phi4:14b"]}
    assert preload(chosen) == ["phi4:14b"]
    assert not any("by itself" in note for note in host(chosen).notes)


def test_the_model_that_needs_the_most_room_to_load_is_loaded_first() -> None:
    """After the other one Ollama would make room for it."""
    item = written("qwen3:8b", "gemma3:12b", context=32768, kv_cache="q8_0")
    assert preload(item) == ["gemma3:12b", "qwen3:8b"]


def test_overcommit_that_is_allowed_loads_what_fits() -> None:
    item = written("qwen3:32b", "qwen3:8b", context=8192, allow_overcommit=True)
    assert preload(item) == ["qwen3:32b"]


def test_a_wish_is_loaded_as_well_and_a_pool_by_each_of_its_wishes() -> None:
    wishes = (
        {"model": "qwen3:8b", "pool": "p", "preload": False},
        {"model": "qwen3:0.6b", "pool": "p"},
    )
    assert preload(wishes=wishes) == ["qwen3:0.6b"]


def test_the_first_slice_is_the_default_unless_one_is_chosen() -> None:
    chat, code = written("qwen3:8b"), written("qwen3:8b") | {"name": "code", "gpus": [1]}

    def default(*slices: dict[str, Any], **more: Any) -> str | None:
        found = host(*slices, **more).default_slice
        return found and found.name

    assert default(chat, code) == "chat"
    assert default(chat, code | {"default": True}) == "code"
    wish = {"name": "wished", "model": "qwen3:0.6b", "default": True}
    assert default(chat, wishes=(wish,)) == "wished"
    assert default() is None


def test_what_the_planner_put_together_is_loaded_in_the_order_that_leaves_most_room() -> None:
    """qwen2 first would leave codellama 4 % of its 80 %: real cards differ by as much."""
    fleet = load_fleet(ROOT / "inventory/examples/1x3060-b.yml")
    (item,) = plan_fleet(fleet).hosts["gpu01"].slices
    assert [one.model for one in item.preload] == ["codellama:7b", "qwen2:7b"]
