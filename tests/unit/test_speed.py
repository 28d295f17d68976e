"""Speed estimates: near what was measured, honest about how near, and slower where they must be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_fleet.catalogue import all_gpus, all_models, find_gpu, find_model
from ollama_fleet.speed import active_bytes, decode_speed

models = st.sampled_from(all_models())
gpus = st.sampled_from(all_gpus())


# Measured decode tokens/s at batch 1 on RTX 3090 cards, from public reports.
@pytest.mark.parametrize(
    ("tag", "cards", "depth", "measured"),
    [
        ("gemma3:1b", 1, 0, 235),
        ("llama3.1:8b", 1, 0, 112),
        ("mistral-small:24b", 1, 0, 49.9),
        ("gpt-oss:20b", 1, 512, 180),
        ("gpt-oss:20b", 1, 32768, 148),
        ("qwen3.5:35b", 1, 0, 124),
        ("qwen3.5:35b", 1, 0, 135),
        ("llama3.1:70b", 2, 0, 16.3),
        ("llama3.1:70b", 4, 0, 16.9),
    ],
)
def test_a_measured_speed_lies_in_the_band(
    tag: str, cards: int, depth: int, measured: float
) -> None:
    speed = decode_speed(find_model(tag), find_gpu("RTX 3090"), gpus=cards, depth=depth)
    assert speed.low_tokens_per_s <= measured <= speed.high_tokens_per_s


@given(models, gpus, st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_longer_context_is_never_faster(model, gpu, one: int, other: int) -> None:
    early, late = (decode_speed(model, gpu, depth=depth) for depth in sorted((one, other)))
    assert early.tokens_per_s >= late.tokens_per_s
    assert 0 < late.low_tokens_per_s < late.tokens_per_s < late.high_tokens_per_s


@given(models, gpus)
def test_no_model_reads_more_than_its_weights(model, gpu) -> None:
    assert 0 < active_bytes(model) <= model.weight_bytes
    assert decode_speed(model, gpu, share=0.5).tokens_per_s < decode_speed(model, gpu).tokens_per_s


def test_a_mixture_is_faster_than_a_dense_model_of_its_size() -> None:
    gpu = find_gpu("RTX 3090")
    mixture, dense = (decode_speed(find_model(tag), gpu) for tag in ("qwen3:30b", "qwen3:32b"))
    assert mixture.tokens_per_s > 3 * dense.tokens_per_s
    assert (mixture.marks, dense.marks) == (5, 3)


def test_more_cards_hold_more_but_answer_no_faster() -> None:
    model, gpu = find_model("llama3.3:70b"), find_gpu("RTX 3090")
    two, four = decode_speed(model, gpu, gpus=2), decode_speed(model, gpu, gpus=4)
    assert two.tokens_per_s == four.tokens_per_s
    assert "in turn" in str(two)


def test_hbm_reaches_less_of_its_bandwidth() -> None:
    model = find_model("qwen3:8b")
    a100, rtx = (decode_speed(model, find_gpu(name)) for name in ("A100 80GB PCIe", "RTX 3090"))
    assert a100.tokens_per_s / rtx.tokens_per_s < 1935 / 936
