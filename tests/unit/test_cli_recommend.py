"""`fleet recommend` as people and programs see it."""

import pytest

from tests.unit.fleet_cli import fleet, fleet_json

CODE = ("recommend", "--gpu", "RTX 3090", "--task", "code")


def test_places_come_with_their_reasons() -> None:
    told = fleet_json(*CODE, "--top", 3)
    assert [place["place"] for place in told["places"]] == [1, 2, 3]
    first, second, _ = told["places"]
    assert first["behind"] is None and first["model"] in second["behind"]
    assert first["points"] == pytest.approx(sum(t["points"] for t in first["terms"]), abs=0.03)
    assert {"size", "generation", "purpose", "speed", "cache"} == {
        term["name"] for term in first["terms"]
    }
    assert first["kept_mib"] <= first["available_mib"]
    assert told["wish"] == told["wish"] | {"prefer": "balance", "stage": None, "context": 4096}
    assert all(one["why"] for one in told["refused"])


def test_people_see_the_ranking_and_what_is_out_of_reach() -> None:
    text = fleet(*CODE).stdout
    assert "code on NVIDIA GeForce RTX 3090, for balance" in text
    assert "behind" in text and "out of reach: " in text and "more fit" in text


def test_two_cards_hold_more_or_the_same_twice() -> None:
    told = fleet_json("recommend", "--gpu", "RTX 3090", "--gpus", 2, "--task", "chat", "--top", 99)
    by_tag = {place["model"]: place for place in told["places"]}
    assert by_tag["llama3:70b"]["gpus"] == 2
    assert by_tag["llama3:8b"]["copies"] == 2


def test_a_stage_and_a_context_change_the_question() -> None:
    told = fleet_json(*CODE, "--stage", "production", "--context", 65536)
    assert told["wish"]["parallel"] == 2
    assert all(place["largest_context"] >= 65536 for place in told["places"])


def test_when_nothing_fits_it_is_refused_with_the_nearest() -> None:
    words = ("recommend", "--gpu", "GTX 1060", "--task", "code", "--context", 300000)
    done = fleet(*words, code=3)
    assert "no model for code fits" in done.stderr and "tokens at most" in done.stderr
    told = fleet_json(*words, code=3)
    assert told["places"] == [] and told["refused"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "RTX 3099", "--task", "code"], "RTX 30"),
        (["--gpu", "RTX 3090", "--task", "cooking"], "translation"),
        (["--gpu", "RTX 3090", "--task", "code", "--prefer", "beauty"], "balance"),
        (["--gpu", "RTX 3090", "--task", "code", "--gpus", "0"], "1 to 64"),
        (["--gpu", "RTX 3090", "--task", "code", "--context", "0"], "10485760"),
        (["--gpu", "RTX 3090", "--task", "code", "--top", "0"], "--top is 1"),
        (["--task", "code"], "--gpu"),
    ],
)
def test_bad_input_is_answered_with_what_is_possible(words: list[str], said: str) -> None:
    assert said in fleet("recommend", *words, code=2).stderr
