"""Estimates: components that explain themselves, growth in every input, and the reverse."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_fleet.catalogue import KvCache, Model, all_models, find_gpu, find_model
from ollama_fleet.vram import EstimateError, estimate, largest_context, predicted_mib

TAGS = [model.tag for model in all_models()]
KINDS: list[KvCache] = ["q4_0", "q8_0", "f16"]
SETTINGS = settings(max_examples=300, deadline=None)

tags = st.sampled_from(TAGS)
kinds = st.sampled_from(KINDS)
shares = st.floats(0.0, 1.0)


def context_of(model: Model, share: float) -> int:
    return max(1, int(model.max_context * share))


@SETTINGS
@given(tags, shares, shares, st.integers(1, 16), kinds, st.booleans())
def test_a_longer_context_never_takes_less(
    tag: str, one: float, other: float, parallel: int, kind: KvCache, flash: bool
) -> None:
    model = find_model(tag)
    kind = kind if flash else "f16"
    short, long = sorted((context_of(model, one), context_of(model, other)))
    smaller, larger = (
        estimate(
            model, context=context, parallel=parallel, kv_cache=kind, flash_attention=flash
        ).total_mib
        for context in (short, long)
    )
    assert smaller <= larger


@SETTINGS
@given(tags, shares, st.integers(1, 64), st.integers(1, 64), kinds)
def test_more_requests_at_once_never_take_less(
    tag: str, share: float, one: int, other: int, kind: KvCache
) -> None:
    model = find_model(tag)
    few, many = sorted((one, other))
    context = context_of(model, share)
    smaller, larger = (
        estimate(model, context=context, parallel=parallel, kv_cache=kind).total_mib
        for parallel in (few, many)
    )
    assert smaller <= larger


@SETTINGS
@given(tags, shares, st.integers(1, 16))
def test_wider_cache_elements_never_take_less(tag: str, share: float, parallel: int) -> None:
    model = find_model(tag)
    sizes = [
        estimate(
            model, context=context_of(model, share), parallel=parallel, kv_cache=kind
        ).total_mib
        for kind in KINDS
    ]
    assert sizes == sorted(sizes)


@SETTINGS
@given(tags, shares, st.integers(1, 8), st.integers(1, 6), kinds)
def test_the_parts_of_all_gpus_are_the_whole(
    tag: str, share: float, parallel: int, gpus: int, kind: KvCache
) -> None:
    model = find_model(tag)
    context = context_of(model, share)
    one = estimate(model, context=context, parallel=parallel, kv_cache=kind)
    split = estimate(model, context=context, parallel=parallel, kv_cache=kind, gpus=gpus)
    for name in ("weights", "kv_cache", "recurrent_state", "projector"):
        assert split.components.get(name, 0) == pytest.approx(one.components.get(name, 0))
    assert sum(split.components.values()) == pytest.approx(split.total_mib)
    assert len(split.per_gpu) == gpus
    assert all(part.needed_mib > part.total_mib for part in split.per_gpu)


@SETTINGS
@given(tags, st.integers(500, 200_000), st.integers(1, 4), st.integers(1, 4), kinds)
def test_the_largest_context_fits_and_the_next_does_not(
    tag: str, available_mib: int, parallel: int, gpus: int, kind: KvCache
) -> None:
    model = find_model(tag)
    arguments = {"parallel": parallel, "kv_cache": kind, "gpus": gpus}
    found = largest_context(model, available_mib, **arguments)
    assert 0 <= found <= model.max_context
    for context, fits in ((found, True), (found + 256, False)):
        if 0 < context <= model.max_context:
            answer = estimate(model, context=context, free_mib=available_mib * gpus, **arguments)
            assert (answer.needed_per_gpu_mib <= available_mib) == fits


@SETTINGS
@given(tags, st.integers(500, 200_000), st.integers(0, 100_000))
def test_more_memory_never_holds_less_context(tag: str, available_mib: int, more: int) -> None:
    model = find_model(tag)
    assert largest_context(model, available_mib) <= largest_context(model, available_mib + more)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 40961}, "40960"),
        ({"context": 0}, "1 to 40960"),
        ({"context": -5}, "1 to 40960"),
        ({"context": 4096, "parallel": 0}, "parallel"),
        ({"context": 4096, "parallel": 10**9}, "parallel"),
        ({"context": 4096, "kv_cache": "q5_1"}, "q8_0"),
        ({"context": 4096, "kv_cache": "q8_0", "flash_attention": False}, "flash attention"),
        ({"context": 4096, "gpus": 0}, "GPUs"),
        ({"context": 4096, "gpus": 65}, "GPUs"),
        ({"context": 4096, "batch": 0}, "batch"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(EstimateError, match=message):
        estimate(find_model("qwen3:8b"), **arguments)


def test_an_estimate_explains_every_term_with_its_numbers() -> None:
    answer = estimate(find_model("qwen3:8b"), context=8192)
    lines = "\n".join(answer.explain())
    assert "36 layers × 8 KV heads × (128 + 128) × 1 × 8192 cells × 2 B (f16) = 1152.0 MiB" in lines
    assert "margin: 2% + 512 MiB" in lines
    assert answer.needed_mib == pytest.approx(answer.total_mib * 1.02 + 512)


def test_components_of_each_class_are_where_they_belong() -> None:
    def parts(tag: str) -> set[str]:
        return set(estimate(find_model(tag), context=512).components)

    always = {"weights", "graph", "cuda_context"}
    assert parts("llama2:7b") == always | {"kv_cache"}
    assert parts("gemma3:4b") == always | {"kv_cache", "projector"}
    assert parts("qwen3-next:80b") == always | {"kv_cache", "recurrent_state"}
    assert "draft" in parts("qwen3.8:27b")
    assert parts("bge-m3") == always


def test_a_model_without_gqa_takes_far_more_cache() -> None:
    old, new = (
        estimate(find_model(tag), context=4096).components["kv_cache"]
        for tag in ("llama2:7b", "llama3:8b")
    )
    assert old == 4 * new


def test_deepseek_without_absorbed_attention_takes_seventy_times_the_cache() -> None:
    per_head, latent = (
        estimate(find_model(tag), context=4096).components["kv_cache"]
        for tag in ("deepseek-r1:671b", "deepseek-v3.1:671b")
    )
    assert per_head / latent == pytest.approx(71.1, abs=0.1)


def test_a_model_that_ollama_serves_one_by_one_says_so() -> None:
    answer = estimate(find_model("qwen3.5:9b"), context=4096, parallel=8)
    assert answer.parallel == 1
    assert "one request at a time" in answer.explain()[-1]


def test_a_tight_card_gets_a_smaller_batch() -> None:
    model = find_model("mistral-small:24b")
    tight = estimate(model, context=32768, free_mib=24159)
    roomy = estimate(model, context=32768)
    assert (tight.batch, roomy.batch) == (512, 1024)
    assert tight.total_mib < roomy.total_mib


def test_the_last_gpu_holds_the_output_and_the_first_the_projector() -> None:
    split = estimate(find_model("gemma3:27b"), context=4096, gpus=2).per_gpu
    assert split[0].mib("projector") and not split[1].mib("projector")
    text = estimate(find_model("llama3.3:70b"), context=4096, gpus=2).per_gpu
    assert abs(text[0].total_mib - text[1].total_mib) < 0.03 * text[0].total_mib


def test_a_large_die_has_a_larger_context_and_margin() -> None:
    model = find_model("qwen3:8b")
    known = estimate(model, context=4096, gpu=find_gpu("RTX 5090"))
    other = estimate(model, context=4096, gpu=find_gpu("RTX 3090"))
    assert known.components["cuda_context"] == 1005
    assert known.margin_mib > other.margin_mib + 500


def test_the_schedulers_prediction_is_the_files_size_and_a_plain_cache() -> None:
    model = find_model("llama3.1:8b")
    assert predicted_mib(model, 8192) == pytest.approx(model.file_bytes / 2**20 + 1024)


def test_the_guides_70b_fits_two_3090_and_one_a100_40gb_only_with_a_short_context() -> None:
    model = find_model("llama3:70b")
    assert largest_context(model, find_gpu("A100 40GB").usable_mib) < 4096
    assert largest_context(model, find_gpu("RTX 3090").usable_mib, gpus=2) == 8192
