"""The ranking by itself: what it rewards, what it leaves out, and the guides' questions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_fleet.catalogue import all_gpus, all_models, find_gpu, find_model
from ollama_fleet.recommend import (
    PREFERENCES,
    STAGES,
    TASKS,
    Demand,
    Ranking,
    Room,
    Wish,
    WishError,
    behind,
    fits,
    largest,
    make_wish,
    memory,
    recommend,
    ways_to_fit,
)
from ollama_fleet.recommend.families import TABLE, generation, release_month, released
from ollama_fleet.recommend.guides import GUIDE_MODELS, compare, questions
from ollama_fleet.recommend.score import effective_params_b, purpose

RTX_3090, RTX_3060 = find_gpu("RTX 3090"), find_gpu("RTX 3060")


def tags(ranking: Ranking) -> list[str]:
    return [place.model.tag for place in ranking.places]


def among(wish: Wish, *names: str) -> list[str]:
    return tags(recommend(wish, [find_model(name) for name in names]))


@pytest.mark.parametrize("prefer", PREFERENCES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_an_answer_that_fits(task: str, prefer: str) -> None:
    wish = make_wish(RTX_3090, task, prefer=prefer)
    ranking = recommend(wish)
    assert len(ranking.places) >= 5
    for place in ranking.places:
        assert task in place.model.tasks and fits(place.estimate, place.room)
        assert place.largest_context >= wish.context
        assert all(term.why for term in place.terms)
    points = [place.points for place in ranking.places]
    assert points == sorted(points, reverse=True)


def test_the_same_question_has_the_same_answer() -> None:
    wish = make_wish(RTX_3090, "chat", gpus=2)
    assert recommend(wish) == recommend(wish, reversed(all_models()))


def test_of_equally_old_models_the_larger_is_better_and_the_smaller_faster() -> None:
    sizes = ("qwen2.5:7b", "qwen2.5:14b", "qwen2.5:32b")
    first = {p: among(make_wish(RTX_3090, "chat", prefer=p), *sizes)[0] for p in PREFERENCES}
    assert first == {"speed": "qwen2.5:7b", "balance": "qwen2.5:14b", "quality": "qwen2.5:32b"}


def test_a_stage_stands_for_a_preference() -> None:
    for name, rules in STAGES.items():
        assert make_wish(RTX_3090, "chat", stage=name).prefer == rules.prefer
    wish = make_wish(RTX_3090, "chat", stage="production", prefer="speed")
    assert (wish.prefer, wish.parallel) == ("speed", 2)


def test_production_takes_nothing_whose_dimensions_are_unsure() -> None:
    unsure = {model.tag for model in all_models() if model.confidence == "low"}
    assert unsure & set(tags(recommend(make_wish(RTX_3090, "chat"))))
    assert not unsure & set(tags(recommend(make_wish(RTX_3090, "chat", stage="production"))))


def test_of_equally_large_models_the_newer_is_better() -> None:
    names = ("codellama:7b", "qwen2.5-coder:7b")
    assert among(make_wish(RTX_3090, "code"), *names)[0] == "qwen2.5-coder:7b"


def test_a_specialist_is_better_at_its_own_task_only() -> None:
    assert purpose(find_model("deepseek-r1:32b")) == "reasoning"
    assert purpose(find_model("codellama:34b")) == "code"
    assert purpose(find_model("qwen2.5vl:7b")) == "vision"
    assert purpose(find_model("qwen3:30b")) is None
    assert among(make_wish(RTX_3090, "chinese"), "qwen3:8b", "deepseek-r1:8b")[0] == "qwen3:8b"


def test_a_mixture_of_experts_counts_between_its_two_sizes() -> None:
    assert effective_params_b(find_model("qwen3:30b")) == pytest.approx(9.6, abs=0.1)
    assert effective_params_b(find_model("qwen3:32b")) == pytest.approx(32.8, abs=0.1)


def test_a_model_too_large_for_one_card_is_put_on_two() -> None:
    one, two = (make_wish(RTX_3090, "chat", prefer="quality", gpus=n) for n in (1, 2))
    assert among(one, "llama3:70b") == []
    (place,) = recommend(two, [find_model("llama3:70b")]).places
    assert (place.room.gpus, place.copies) == (2, 1)
    (small,) = recommend(two, [find_model("llama3:8b")]).places
    assert (small.room.gpus, small.copies) == (1, 2)


def test_those_out_of_reach_are_named_with_what_is_missing() -> None:
    ranking = recommend(make_wish(RTX_3060, "chat"), [find_model("llama3:70b")])
    (refused,) = ranking.refused
    assert "MiB, 12,029 usable" in refused.why
    long = recommend(make_wish(RTX_3090, "long-documents"), [find_model("yi:34b")])
    assert long.refused[0].why == "holds 4096 tokens at most"


def test_a_smaller_cache_is_tried_where_it_makes_the_model_fit() -> None:
    wish = make_wish(RTX_3090, "reasoning", context=24576)
    (place,) = recommend(wish, [find_model("deepseek-r1:32b")]).places
    assert place.estimate.kv_cache == "q8_0"
    assert any(term.name == "cache" and term.points < 0 for term in place.terms)


def test_a_lower_place_says_what_it_lacks() -> None:
    ranking = recommend(
        make_wish(RTX_3090, "chat"), [find_model("qwen2.5:14b"), find_model("llama2:13b")]
    )
    words = behind(ranking.places[1], ranking.places[0])
    assert words.startswith("behind qwen2.5:14b by size") and "generation" in words


def test_long_documents_prefer_what_holds_more() -> None:
    wish = make_wish(RTX_3090, "long-documents", prefer="quality")
    assert wish.context == 32768
    ranking = recommend(wish, [find_model("qwen3.5:9b"), find_model("granite4.1:8b")])
    more = [next(t.points for t in place.terms if t.name == "context") for place in ranking.places]
    assert tags(ranking) == ["qwen3.5:9b", "granite4.1:8b"] and more[0] > more[1] > 0


@pytest.mark.parametrize("numbers", [{"gpus": 0}, {"gpus": 65}, {"context": 0}, {"context": 10**9}])
def test_numbers_that_cannot_be_meant_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(WishError):
        make_wish(RTX_3090, "chat", **numbers)


def test_every_text_model_of_the_catalogue_has_a_date() -> None:
    missing = [m.tag for m in all_models() if m.kind == "text" and not release_month(m)]
    assert missing == []


def test_every_date_is_of_a_family_or_tag_that_exists() -> None:
    known = {name for m in all_models() for name in (m.tag, m.tag.partition(":")[0])}
    assert set(released()) <= known
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    assert len({line.split(",")[0] for line in lines}) == len(lines)


def test_a_model_of_no_known_family_is_taken_for_early_2025() -> None:
    own = find_model("qwen3:8b").model_copy(update={"tag": "mine:8b"})
    assert release_month(own) is None and generation(own) == 4


def test_ways_to_fit_are_one_change_each_and_fit() -> None:
    model, where = find_model("qwen3:32b"), Room(RTX_3090)
    ways = ways_to_fit(model, Demand(32768), where)
    assert any(way.startswith("--context") for way in ways)
    assert "--gpus 2" in ways and "--kv-cache q4_0" in ways


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from([m for m in all_models() if m.kind == "text"]),
    gpu=st.sampled_from(all_gpus()),
    gpus=st.integers(1, 8),
    parallel=st.sampled_from([1, 4]),
)
def test_the_largest_context_always_fits(model, gpu, gpus: int, parallel: int) -> None:
    where = Room(gpu, min(gpus, model.layers))
    demand = Demand(256, parallel)
    found = largest(model, demand, where)
    if found:
        assert fits(memory(model, Demand(found, parallel), where), where)
    if found < model.max_context and found:
        more = min(found + 256, model.max_context)
        assert not fits(memory(model, Demand(more, parallel), where), where)


def test_every_guide_model_exists_and_every_question_can_be_asked() -> None:
    assert {find_model(tag).tag for tag in GUIDE_MODELS} == set(GUIDE_MODELS)
    assert len(questions()) >= 30
    for question in questions():
        assert question.answers and all(find_model(tag) for tag in question.answers)


# What the guides are sure of, and the library does not contradict.
AGREED = (
    "Chinese on one card",
    "Chinese on two cards",
    "Code on one card",
    "Mathematics and reasoning on one card",
    "Mathematics and reasoning on two cards",
    "General chat with one card",
    "Translation",
    "Documents of 16K to 32K tokens",
    "12 GB of memory",
    "24 GB of memory",
    "Production on one card",
)


def test_among_their_own_models_the_guides_answers_come_out() -> None:
    compared = {q.text: compare(q) for q in questions() if q.text in AGREED}
    assert {text for text, row in compared.items() if row.agrees} == set(AGREED)


def test_where_the_guides_are_wrong_the_reason_is_said() -> None:
    rows = {q.text: compare(q) for q in questions() if q.text.startswith(("Code on two", "Doc"))}
    assert rows["Code on two cards"].reason == "codellama:70b: holds 2048 tokens at most"
    assert rows["Documents of more than 32K tokens"].reason == "yi:34b: holds 4096 tokens at most"


def test_models_of_today_pass_all_that_the_guides_know() -> None:
    for question in questions()[:6]:
        assert compare(question).today.places[0].model.tag not in GUIDE_MODELS
