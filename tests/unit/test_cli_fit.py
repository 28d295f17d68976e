"""`fleet fit`: the arithmetic of a model, on real catalogue data."""

import struct
from pathlib import Path

import pytest

from tests.unit.fleet_cli import fleet, fleet_json


def test_the_parts_add_up_to_the_total() -> None:
    told = fleet_json("fit", "qwen3:8b", "--context", 8192)
    assert set(told["components"]) == {"weights", "kv_cache", "graph", "cuda_context"}
    assert told["total_mib"] == pytest.approx(sum(told["components"].values()), abs=0.5)
    assert told["components"]["kv_cache"] == 1152.0
    assert "fits" not in told


def test_on_a_gpu_it_says_whether_it_fits_and_with_how_much_context() -> None:
    told = fleet_json("fit", "qwen3:8b", "--gpu", "RTX 3090", "--context", 8192)
    assert told["fits"] is True and told["largest_context"] == 40960
    assert told["gpu"] == "NVIDIA GeForce RTX 3090"
    assert 100 < told["tokens_per_s"] < 150
    assert told["would_fit"] == []


def test_what_does_not_fit_ends_with_3_and_says_what_would() -> None:
    told = fleet_json("fit", "qwen3:32b", "--gpu", "RTX 3090", "--context", 32768, code=3)
    assert told["fits"] is False and told["free_mib"] < 0
    assert told["largest_context"] < 32768
    assert f"--context {told['largest_context']}" in told["would_fit"]
    for words in told["would_fit"]:
        change = words.split() if words.startswith("--") else []
        model = "qwen3:32b" if change else words
        fleet("fit", model, "--gpu", "RTX 3090", "--context", 32768, *change)


@pytest.mark.parametrize("cache", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("gpus", [1, 2])
def test_the_largest_context_fits_and_the_next_does_not(cache: str, gpus: int) -> None:
    words = ("fit", "qwen3:30b", "--gpu", "RTX 3090", "--gpus", gpus, "--kv-cache", cache)
    largest = fleet_json(*words)["largest_context"]
    assert fleet_json(*words, "--context", largest)["fits"]
    if largest < 262144:
        assert not fleet_json(*words, "--context", largest + 256, code=3)["fits"]


def test_people_see_every_term_with_its_reason() -> None:
    text = fleet("fit", "qwen3:8b", "--gpu", "RTX 3090", "--parallel", 2).stdout
    assert "36 layers × 8 KV heads" in text and "2 × 4096 cells" in text
    assert "fits on NVIDIA GeForce RTX 3090" in text
    assert "largest context with these settings: 40960" in text


def test_two_gpus_are_shown_one_by_one() -> None:
    told = fleet_json("fit", "llama3:70b", "--gpu", "RTX 3090", "--gpus", 2)
    assert [share["index"] for share in told["per_gpu"]] == [0, 1]
    assert sum(share["total_mib"] for share in told["per_gpu"]) == pytest.approx(
        told["total_mib"], abs=0.5
    )
    assert "GPU 1: weights" in fleet("fit", "llama3:70b", "--gpus", 2).stdout


def test_a_mig_instance_is_smaller_than_its_card() -> None:
    whole = fleet_json("fit", "qwen3:14b", "--gpu", "A100-SXM4-40GB")
    cut = fleet_json("fit", "qwen3:14b", "--gpu", "A100-SXM4-40GB", "--mig", "2g.10gb", code=3)
    assert cut["available_mib"] < whole["available_mib"] / 3 and not cut["fits"]


def test_without_flash_attention_the_graph_grows() -> None:
    on = fleet_json("fit", "qwen3:8b", "--context", 8192)
    off = fleet_json("fit", "qwen3:8b", "--context", 8192, "--no-flash-attention")
    assert (on["flash_attention"], off["flash_attention"]) == (True, False)
    assert off["components"]["graph"] > 2 * on["components"]["graph"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["llama3:13b"], "llama3:8b"),
        (["qwen3:8b", "--gpu", "RTX 3099"], "RTX 30"),
        (["qwen3:8b", "--context", "1000000"], "40960"),
        (["qwen3:8b", "--context", "-5"], "1 to 40960"),
        (["qwen3:8b", "--parallel", "0"], "parallel is 1"),
        (["qwen3:8b", "--gpus", "0"], "not 0"),
        (["qwen3:8b", "--mig", "1g.5gb"], "needs --gpu"),
        (["qwen3:8b", "--gpu", "A30", "--mig", "3g.20gb"], "1g.6gb"),
        (["qwen3:8b", "--gpu", "A30", "--mig", "1g.6gb", "--gpus", "2"], "one MIG instance"),
        (["qwen3:8b", "--gpu", "RTX 3090", "--mig", "1g.5gb"], "cannot be partitioned"),
        (["qwen3:8b", "--kv-cache", "q8_0", "--no-flash-attention"], "flash attention"),
        (["no/such.gguf"], "cannot be read"),
        ([""], "no model"),
    ],
)
def test_bad_input_is_answered_with_what_is_possible(words: list[str], said: str) -> None:
    assert said in fleet("fit", *words, code=2).stderr
    assert said in fleet_json("fit", *words, code=2)["error"]


def test_an_unknown_cache_type_is_bad_input() -> None:
    assert "q8_0" in fleet("fit", "qwen3:8b", "--kv-cache", "q5", code=2).stderr


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"not a model",
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63),
        b"GGUF" + struct.pack("<IQQ", 3, 10**6, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    ],
)
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    fleet("fit", path, code=2)
