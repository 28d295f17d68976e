"""A running server's /api/show gives the same model as the catalogue, for every class of model."""

from typing import Any

import pytest

from ollama_fleet.catalogue import GgufError, Model, find_model, from_api_show

# What the metadata of these files says, by the converters of Ollama and llama.cpp.
KEYS: dict[str, dict[str, Any]] = {
    "qwen3:8b": {
        "block_count": 36,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "attention.key_length": 128,
        "attention.value_length": 128,
        "feed_forward_length": 12288,
    },
    "llama2:7b": {
        "block_count": 32,
        "attention.head_count": 32,
        "feed_forward_length": 11008,
    },
    "gemma3:4b": {
        "block_count": 34,
        "attention.head_count": 8,
        "attention.head_count_kv": 4,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "attention.sliding_window": 1024,
        "feed_forward_length": 10240,
    },
    "gemma4:e2b": {
        "block_count": 35,
        "attention.head_count": 8,
        "attention.head_count_kv": 1,
        "attention.key_length": 512,
        "attention.value_length": 512,
        "attention.key_length_swa": 256,
        "attention.value_length_swa": 256,
        "attention.sliding_window": 512,
        "attention.sliding_window_pattern": [True, True, True, True, False] * 7,
        "attention.shared_kv_layers": 20,
        "feed_forward_length": 6144,
    },
    "qwen3.5:27b": {
        "block_count": 64,
        "attention.head_count": 24,
        "attention.head_count_kv": 4,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "full_attention_interval": 4,
        "ssm.inner_size": 6144,
        "ssm.state_size": 128,
        "ssm.group_count": 16,
        "ssm.conv_kernel": 4,
        "feed_forward_length": 17408,
    },
    "deepseek-r1:671b": {
        "block_count": 61,
        "attention.head_count": 128,
        "attention.head_count_kv": 128,
        "attention.key_length": 192,
        "attention.value_length": 128,
        "attention.kv_lora_rank": 512,
        "rope.dimension_count": 64,
        "feed_forward_length": 18432,
        "expert_count": 256,
        "expert_used_count": 8,
        "expert_feed_forward_length": 2048,
        "expert_shared_count": 1,
    },
    "deepseek-v3.1:671b": {
        "block_count": 61,
        "attention.head_count": 128,
        "attention.head_count_kv": 1,
        "attention.key_length": 576,
        "attention.value_length": 512,
        "attention.key_length_mla": 192,
        "attention.value_length_mla": 128,
        "attention.kv_lora_rank": 512,
        "rope.dimension_count": 64,
        "feed_forward_length": 18432,
        "expert_count": 256,
        "expert_used_count": 8,
        "expert_feed_forward_length": 2048,
        "expert_shared_count": 1,
    },
    "gpt-oss:20b": {
        "block_count": 24,
        "attention.head_count": 64,
        "attention.head_count_kv": 8,
        "attention.key_length": 64,
        "attention.value_length": 64,
        "attention.sliding_window": 128,
        "feed_forward_length": 2880,
        "expert_count": 32,
        "expert_used_count": 4,
        "expert_feed_forward_length": 2880,
    },
    "bge-m3": {
        "block_count": 24,
        "attention.head_count": 16,
        "feed_forward_length": 4096,
    },
}


def answer(model: Model) -> dict[str, Any]:
    """What /api/show says of a model: nulls for long lists, and the tensors."""
    prefix = model.architecture
    info: dict[str, Any] = {
        "general.architecture": prefix,
        f"{prefix}.embedding_length": model.embedding,
        f"{prefix}.context_length": model.max_context,
        "tokenizer.ggml.tokens": None,
    }
    info |= {f"{prefix}.{key}": value for key, value in KEYS[model.tag].items()}
    table = [model.embedding, model.vocab]
    tensors = [
        {"name": "token_embd.weight", "type": "F16", "shape": table},
        {"name": "blk.0.ffn_up.weight", "type": "Q4_K", "shape": [256, 4096]},
        {"name": "blk.0.ffn_up_exps.weight", "type": "MXFP4", "shape": [256, 64, 8]},
        {"name": "v.blk.0.attn_q.weight", "type": "F16", "shape": [64, 64]},
    ]
    if not model.tied:
        kind = "BF16" if model.embedding % 256 else "Q6_K"
        tensors.append({"name": "output.weight", "type": kind, "shape": table})
    return {
        "model_info": info,
        "details": {"quantization_level": "Q4_K_M"},
        "tensors": tensors,
    }


@pytest.mark.parametrize("tag", KEYS)
def test_a_servers_answer_gives_the_catalogues_dimensions(tag: str) -> None:
    known = find_model(tag)
    shown = from_api_show(tag, answer(known))
    for field in ("layers", "embedding", "heads", "full", "local", "mla_width", "recurrent"):
        assert getattr(shown, field) == getattr(known, field), field
    for field in ("kind", "vocab", "tied", "active_ffn", "max_context", "experts_used"):
        assert getattr(shown, field) == getattr(known, field), field


def test_weights_leave_out_projector_and_an_untied_token_table() -> None:
    shown = from_api_show("qwen3:8b", answer(find_model("qwen3:8b")))
    output = 151936 * 4096 // 256 * 210
    assert shown.projector_bytes == 64 * 64 * 2
    assert shown.weight_bytes == 256 * 4096 // 256 * 144 + 256 * 64 * 8 // 32 * 17 + output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"model_info": None}, "no model_info"),
        ({"model_info": []}, "no model_info"),
        ({"tensors": None}, "verbose"),
        ({"tensors": []}, "verbose"),
        ({"tensors": [{"name": "t"}]}, "cannot be read"),
        ({"tensors": [7]}, "cannot be read"),
        ({"tensors": [{"name": "t", "type": "Q9", "shape": [32]}]}, "unknown type"),
        ({"tensors": [{"name": "t", "type": "F16", "shape": [-1, 4]}]}, "impossible"),
        ({"tensors": [{"name": "t", "type": "F16", "shape": [10**400]}]}, "impossible"),
        ({"tensors": [{"name": "t", "type": "F16", "shape": []}]}, "impossible"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(damage: dict[str, Any], message: str) -> None:
    good = answer(find_model("qwen3:8b"))
    with pytest.raises(GgufError, match=message):
        from_api_show("qwen3:8b", good | damage)


@pytest.mark.parametrize(
    "damage",
    [
        {"qwen3.block_count": 10**9},
        {"qwen3.block_count": -1},
        {"qwen3.block_count": "many"},
        {"qwen3.block_count": float("nan")},
        {"qwen3.embedding_length": 10**400},
        {"qwen3.attention.head_count": 0},
        {"qwen3.attention.head_count": 10**300},
        {"qwen3.attention.head_count_kv": [float("inf")] * 36},
        {"qwen3.attention.head_count_kv": [-8] * 36},
        {"qwen3.attention.key_length": -128},
        {"qwen3.context_length": 0},
        {"qwen3.ssm.inner_size": 10**12, "qwen3.ssm.state_size": 10**12},
        {"general.architecture": 7},
    ],
)
def test_absurd_metadata_is_refused_or_harmless(damage: dict[str, Any]) -> None:
    good = answer(find_model("qwen3:8b"))
    good["model_info"] |= damage
    try:
        shown = from_api_show("qwen3:8b", good)
    except GgufError:
        return
    assert shown.layers <= 2048
