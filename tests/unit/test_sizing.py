"""What a host needs beside its GPUs, computed and as the guide has it."""

import pytest

from ollama_fleet.catalogue import find_model
from ollama_fleet.sizing import GUIDE, MIB, download_bytes, host_needs, host_weights_bytes


@pytest.mark.parametrize("tag", GUIDE)
def test_the_guides_figures_stand_beside_the_computed_ones(tag: str) -> None:
    needs = host_needs([find_model(tag)])
    for need, asked in (
        (needs.ram, GUIDE[tag].ram_gb * 10**9 / MIB),
        (needs.cpu, GUIDE[tag].cpu_cores),
        (needs.disk, GUIDE[tag].disk_gb * 10**9 / MIB),
    ):
        assert need.guide == int(asked)
        assert need.least <= need.comfortable
        assert need.least <= need.guide
        assert str(need.guide) in str(need)
        assert need.reason


def test_disk_holds_every_file_once() -> None:
    one = download_bytes([find_model("mistral")])
    assert download_bytes([find_model("mistral"), find_model("mistral:7b-instruct")]) == one
    assert download_bytes([find_model("mistral"), find_model("qwen3:8b")]) > 2 * one


def test_a_rounded_size_is_taken_with_its_rounding() -> None:
    rounded, exact = find_model("qwen3.6:27b"), find_model("qwen3:8b")
    assert download_bytes([rounded]) > rounded.file_bytes
    assert download_bytes([exact]) == exact.file_bytes


def test_per_layer_embeddings_stay_in_host_memory() -> None:
    assert host_weights_bytes(find_model("gemma4:e2b")) > 4 * 10**9
    assert host_needs([find_model("gemma4:e2b")]).ram.least > 7000


def test_only_loaded_models_take_memory() -> None:
    models = [find_model(tag) for tag in ("qwen3:8b", "qwen3:14b", "qwen3:32b")]
    one, all_three = host_needs(models, loaded=1), host_needs(models)
    assert one.ram.least < all_three.ram.least
    assert one.cpu.least < all_three.cpu.least
    assert one.disk == all_three.disk


def test_a_host_without_models_needs_only_its_system() -> None:
    needs = host_needs([])
    assert needs.ram.least == 2048
    assert needs.ram.guide is None
