"""Every configuration of the two source guides plans, or is refused where the guide is wrong."""

from pathlib import Path

import pytest

from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import FleetPlan, plan_fleet

FOLDER = Path(__file__).parents[2] / "inventory/examples"
# Those with a gateway are in test_gateway_examples.
FILES = sorted(set(FOLDER.glob("*.yml")) - set(FOLDER.glob("gateway-*.yml")))
WRONG_IN_THE_GUIDE = {"1xa100-40-a"}
NAMES = {
    *(f"1x3060-{letter}" for letter in "ab"),
    *(f"1x{card}-{letter}" for card in ("3090", "4090") for letter in "abcde"),
    *(f"1x{card}-{letter}" for card in ("a6000", "a100-40") for letter in "ab"),
    *(f"2x3090-{letter}" for letter in "abc"),
    *(f"4x3090-{letter}" for letter in "ab"),
    *(f"8x3090-{letter}" for letter in "abc"),
}


def planned(name: str) -> FleetPlan:
    return plan_fleet(load_fleet(FOLDER / f"{name}.yml"))


def test_every_configuration_is_there() -> None:
    assert {path.stem for path in FILES} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES - WRONG_IN_THE_GUIDE))
def test_it_plans(name: str) -> None:
    (plan,) = planned(name).required().hosts.values()
    assert plan.slices and all(memory.fits for memory in plan.memory)
    assert all(memory.uses for memory in plan.memory if memory.owner)


@pytest.mark.parametrize("name", sorted(WRONG_IN_THE_GUIDE))
def test_it_is_refused_with_what_would_fit(name: str) -> None:
    (refusal,) = planned(name).refusals
    assert refusal.arithmetic and "`kv_cache: q8_0`" in refusal.nearest


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_what_it_is(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_research_lab_keeps_its_training_gpus() -> None:
    (plan,) = planned("8x3090-c").hosts.values()
    assert [memory.selector for memory in plan.memory if memory.reserved] == [0, 1, 2, 3]
    assert {gpu for item in plan.slices for gpu in item.gpus} == {4, 5, 6, 7}


def test_ports_are_those_of_the_guide() -> None:
    (plan,) = planned("8x3090-a").hosts.values()
    assert [item.port for item in plan.slices] == [11434, 11435, 11436, 11437, 11438]
