"""Ollama's store: names, manifests, and what counts as a whole model."""

import json
from dataclasses import replace

import pytest

from ollama_fleet.fetching import blobs_base
from ollama_fleet.host.models import (
    BLOBS,
    DIGESTS,
    MOVED,
    SOUND,
    STORED,
    moved_tags,
    read_store,
)
from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.questions import Answer
from ollama_fleet.render import render_host
from ollama_fleet.spec.fleet import Fleet, ModelsSpec
from ollama_fleet.store import blobs_of, is_complete, parse_name, wanted_blobs
from tests.unit.examples import bound, hardware, host_plan

MANIFEST = json.dumps(
    {"config": {"digest": "sha256:aa", "size": 3}, "layers": [{"digest": "sha256:bb", "size": 7}]}
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("qwen3", "registry.ollama.ai/library/qwen3/latest"),
        ("qwen3:8b", "registry.ollama.ai/library/qwen3/8b"),
        ("user/model:x", "registry.ollama.ai/user/model/x"),
        ("hf.co/user/repo:Q4_K_M", "hf.co/user/repo/Q4_K_M"),
        ("10.0.0.1:5000/library/qwen3:8b", "10.0.0.1:5000/library/qwen3/8b"),
        ("10.0.0.1:5000/library/qwen3", "10.0.0.1:5000/library/qwen3/latest"),
    ],
)
def test_names_lie_where_ollama_puts_them(name: str, path: str) -> None:
    assert parse_name(name).path == path


def test_a_model_is_there_only_with_all_its_blobs_in_full_size() -> None:
    assert is_complete(MANIFEST, {"sha256-aa": 3, "sha256-bb": 7})
    assert not is_complete(MANIFEST, {"sha256-aa": 3, "sha256-bb": 6})
    assert not is_complete(MANIFEST, {"sha256-aa": 3})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layers": 3}', "cat: no such file"])
def test_a_broken_manifest_is_no_model(text: str) -> None:
    assert not is_complete(text, {})


def answers(blobs: str, sound: str | None = None, **manifests: str) -> dict[str, Answer]:
    """A store's answers; `sound` None: every blob was hashed as it is."""
    texts = {BLOBS: blobs, SOUND: blobs if sound is None else sound, STORED: "", **manifests}
    return {name: Answer(text) for name, text in texts.items()}


def test_only_missing_models_are_fetched() -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1", "x:1"]})
    found = answers("sha256-aa 3 1.5\nsha256-bb 7 1.5", **{"m:1": MANIFEST, "x:1": ""})
    assert read_store(plan, found).missing == ("x:1",)


@pytest.mark.parametrize(
    ("blobs", "sound"),
    [
        ("sha256-aa 3 1.5\nsha256-bb 6 1.5", None),
        ("sha256-aa 3 1.5\nsha256-bb 7 1.5", "sha256-aa 3 1.5"),
        ("sha256-aa 3 1.5\nsha256-bb 7 2.5", "sha256-aa 3 1.5\nsha256-bb 7 1.5"),
    ],
    ids=["too short", "never hashed", "changed since"],
)
def test_a_blob_counts_when_it_is_whole_and_was_hashed_as_it_is(
    blobs: str, sound: str | None
) -> None:
    """Ollama never looks into a blob that is there: it would keep the broken one."""
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"]})
    assert read_store(plan, answers(blobs, sound, **{"m:1": MANIFEST})).missing == ("m:1",)


def test_a_locked_model_counts_by_its_manifest() -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"]})
    lock = LockedModel("m:1", "ab" * 32, MANIFEST)
    plan = replace(plan, store=replace(plan.store, locked=(lock,)))
    found = answers("sha256-aa 3 1\nsha256-bb 7 1", **{"m:1": MANIFEST})
    path = "registry.ollama.ai/library/m/1"
    right = found | {DIGESTS: Answer(f"{lock.digest}  {path}")}
    assert not read_store(plan, right)
    wrong = found | {DIGESTS: Answer(f"{'cd' * 32}  {path}")}
    assert read_store(plan, wrong).missing == ("m:1",)


def test_a_tag_that_moved_is_told_until_the_lock_has_followed() -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"]})
    lock = LockedModel("m:1", "ab" * 32, MANIFEST)
    plan = replace(plan, store=replace(plan.store, locked=(lock,)))
    (said,) = moved_tags(plan, {MOVED: Answer(f"m:1 {'cd' * 32}\nx:1 {'cd' * 32}")})
    assert said.startswith("m:1: its tag has moved at the registry (to sha256:cdcdcdcdcdcd…)")
    assert moved_tags(plan, {MOVED: Answer(f"m:1 {'ab' * 32}")}) == []


@pytest.mark.parametrize(
    ("store", "unwanted"),
    [
        ({}, ()),
        ({"absent": ["old"]}, ("registry.ollama.ai/library/old/latest",)),
        (
            {"keep_unlisted": False, "extra": ["kept:1"]},
            ("registry.ollama.ai/library/mine/1", "registry.ollama.ai/library/old/latest"),
        ),
    ],
)
def test_what_goes_is_what_the_inventory_says(store: dict, unwanted: tuple[str, ...]) -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"]}, models=store)
    library = "./registry.ollama.ai/library"
    stored = "\n".join(f"{library}/{path}" for path in ("m/1", "kept/1", "mine/1", "old/latest"))
    found = answers("sha256-aa 3 1\nsha256-bb 7 1", **{"m:1": MANIFEST, "kept:1": MANIFEST})
    assert read_store(plan, found | {STORED: Answer(stored)}).unwanted == unwanted


def test_a_mirror_stands_for_the_public_registry_only() -> None:
    registry = "http://10.0.0.1:5000"
    base = "http://10.0.0.1:5000/v2/library/qwen3"
    assert blobs_base(parse_name("qwen3:8b"), registry) == base
    assert blobs_base(parse_name("hf.co/u/r:Q4"), registry) == "https://hf.co/v2/u/r"
    assert blobs_base(parse_name("qwen3"), None) == "https://registry.ollama.ai/v2/library/qwen3"


def test_a_model_is_not_to_be_there_and_gone() -> None:
    """Also where only the plan puts it on the host."""
    fleet = Fleet.model_validate(
        {
            "version": 1,
            "models": {"absent": ["qwen3:8b"]},
            "wishes": [{"model": "qwen3:8b"}],
            "hosts": {"a": {"gpus": [{"model": "RTX 3090"}]}},
        }
    )
    (refusal,) = plan_fleet(fleet).refusals
    assert refusal.where == "hosts.a.models.absent" and "qwen3:8b is to be removed" in refusal.what


@pytest.mark.parametrize(
    "path",
    [
        "/home/x/models",
        "/tmp",
        "models",
        "/a/../b",
        "/data/x y",
        "/",
        "/data",
        "/etc/x",
        "/var/lib/ollama",
        "/opt/ollama",
    ],
)
def test_a_store_is_where_services_see_it(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        ModelsSpec.model_validate({"path": path})


def test_a_store_elsewhere_is_everywhere_the_same() -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"]}, models={"path": "/data/ollama"})
    rendered = render_host(plan, bound(plan), hardware(1))
    texts = {file.path: file.text for file in rendered.files}
    assert "OLLAMA_MODELS=/data/ollama" in texts["/etc/systemd/system/ollama-a.service"]
    assert "OLLAMA_MODELS=/data/ollama" in texts["/etc/systemd/system/ollama-loader.service"]
    folders = texts["/etc/tmpfiles.d/ollama.conf"]
    assert "d /data/ollama/blobs 0755" in folders and "Z /data/ollama/blobs " in folders
    # What else lies on that disk is somebody else's.
    assert "Z /data/ollama " not in folders
    assert "store /data/ollama\n" in texts["/etc/ollama/fetch-models"]
    assert "/var/lib/ollama/models" not in "".join(texts.values())


@pytest.mark.parametrize("name", ["a/../../etc:1", "a//b", "a/./b:1", "a/.."])
def test_a_model_s_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(ValueError, match="is no model's name"):
        ModelsSpec.model_validate({"extra": [name]})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        MANIFEST.replace("7", "1e999"),
        MANIFEST.replace("7", "Infinity"),
        MANIFEST.replace("7", "NaN"),
        MANIFEST.replace("7", "7" * 6000),
    ],
    ids=["brackets", "1e999", "Infinity", "NaN", "digits"],
)
def test_what_a_registry_may_send_instead_of_a_manifest_ends_no_run(text: str) -> None:
    """It lies in a host's store then, and is read at every deploy."""
    assert wanted_blobs(text) is None and blobs_of(text) is None
