"""Models and GPUs are found by the names that people use, and unknown ones answer with real ones."""

import time

import pytest
from pydantic import ValidationError

from ollama_fleet.catalogue import (
    Gpu,
    UnknownGpu,
    UnknownModel,
    all_gpus,
    all_models,
    find_gpu,
    find_model,
    tables,
)


def test_every_row_of_the_tables_is_valid() -> None:
    assert len(all_models()) == 195
    assert len(all_gpus()) == 83
    assert all(profile.max_instances for gpu in all_gpus() for profile in gpu.mig_profiles)


def test_every_alias_finds_its_model() -> None:
    for alias, tag in tables.model_aliases().items():
        assert find_model(alias).tag == tag


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("qwen3:8b", "qwen3:8b"),
        ("Qwen3:8B", "qwen3:8b"),
        ("library/qwen3:8b", "qwen3:8b"),
        ("registry.ollama.ai/library/qwen3:8b", "qwen3:8b"),
        ("mistral:latest", "mistral"),
        ("phi:2.7b", "phi"),
        ("qwen3:8b-q4_K_M", "qwen3:8b"),
    ],
)
def test_a_model_is_found_however_it_is_written(asked: str, found: str) -> None:
    assert find_model(asked).tag == found


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("llama3:13b", "llama3:8b"),
        ("qwen2:14b", "qwen2.5:14b"),
        ("qwen2:32b", "qwen2.5:32b"),
        ("stablelm", "stablelm2:1.6b"),
        ("qwen3:9b", "qwen3:8b"),
        ("lama3:8b", "llama3:8b"),
    ],
)
def test_a_tag_that_does_not_exist_answers_with_the_nearest_real_one(
    asked: str, nearest: str
) -> None:
    with pytest.raises(UnknownModel) as caught:
        find_model(asked)
    assert caught.value.nearest[0] == nearest
    assert asked in str(caught.value)
    assert nearest in str(caught.value)


@pytest.mark.parametrize("asked", ["", "xyzzy", "../../etc/passwd", "a" * 10_000, "\x00", "qwen3:"])
def test_nonsense_is_refused_without_a_guess_that_crashes(asked: str) -> None:
    with pytest.raises(UnknownModel):
        find_model(asked)
    with pytest.raises(UnknownGpu):
        find_gpu(asked + " xyzzy")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090"),
        ("RTX 3090", "NVIDIA GeForce RTX 3090"),
        ("3090", "NVIDIA GeForce RTX 3090"),
        ("rtx 3090ti", "NVIDIA GeForce RTX 3090 Ti"),
        ("RTX 3060 12GB", "NVIDIA GeForce RTX 3060"),
        ("A6000 48GB", "NVIDIA RTX A6000"),
        ("A100 40GB", "NVIDIA A100-SXM4-40GB"),
        ("T4", "Tesla T4"),
        ("L40", "NVIDIA L40"),
        ("H200", "NVIDIA H200"),
    ],
)
def test_a_gpu_is_found_by_part_of_its_name(asked: str, found: str) -> None:
    assert find_gpu(asked).name == found


def test_a_name_of_several_gpus_with_different_memory_asks_which() -> None:
    with pytest.raises(UnknownGpu, match="say which") as caught:
        find_gpu("A100")
    assert "NVIDIA A100 80GB PCIe" in caught.value.nearest


def test_a_misspelt_gpu_answers_with_names_alike() -> None:
    with pytest.raises(UnknownGpu, match="RTX 3090"):
        find_gpu("RTX 3099")


def test_an_a100_has_the_profiles_of_its_memory_size() -> None:
    small, large = find_gpu("A100 40GB"), find_gpu("NVIDIA A100-SXM4-80GB")
    assert small.mig_profile("1g.10gb").max_instances == 4
    assert large.mig_profile("1g.10gb").max_instances == 7
    assert small.mig_profile("3g.20gb").memory_mib(small) == 19968


def test_a_profile_that_a_card_lacks_names_the_ones_it_has() -> None:
    with pytest.raises(LookupError, match=r"1g\.5gb"):
        find_gpu("A100 40GB").mig_profile("9g.90gb")
    with pytest.raises(LookupError, match="cannot be partitioned"):
        find_gpu("RTX 3090").mig_profile("1g.5gb")


def test_slices_of_a_gpu_never_hold_more_than_the_gpu() -> None:
    for gpu in all_gpus():
        for profile in gpu.mig_profiles:
            assert profile.memory_mib(gpu) * profile.max_instances <= gpu.vram_mib


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        find_model("qwen3:8b").layers = 1


def test_a_gpu_of_ones_own_needs_four_facts() -> None:
    own = Gpu(name="Card X", vram_mib=48000, compute_capability="9.0", bandwidth_gb_s=2000)
    assert own.usable_mib < own.vram_mib


def test_one_look_up_takes_milliseconds() -> None:
    for cached in (tables._rows, tables.model_rows, tables.model_aliases, tables.model):
        cached.cache_clear()
    start = time.thread_time()
    find_model("qwen3:8b")
    assert time.thread_time() - start < 0.1
