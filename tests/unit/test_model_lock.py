"""The lock file: what it may hold, who reads it, and what `fleet lock` makes of tags that move."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.fetching import models_job
from ollama_fleet.inventory import load
from tests.unit.examples import RELEASE
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.web_server import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda retry: 0)
    with serving(Site()) as site:
        for tag in ("8b", "1b", "2b"):
            site.add_model("library/m", tag, tag.encode())
        yield site


def write(folder: Path, site: Site, *models: str, extra: tuple[str, ...] = ()) -> Path:
    """An inventory whose one host serves `models`, and keeps `extra`."""
    slices = [{"name": "a", "gpus": [0], "models": list(models)}]
    content = {
        "version": 1,
        "ollama": {"registry": site.url},
        "models": {"extra": list(extra)},
        "hosts": {"one": {"slices": slices}},
    }
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(content))
    path.with_suffix(".py").write_text("")
    return path


def locked(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".lock.json").read_text())["models"]


def test_models_that_nobody_locked_are_added_and_those_that_nobody_names_go(
    site: Site, tmp_path: Path
) -> None:
    path = write(tmp_path, site, "m:8b", extra=("m:1b",))
    assert "is written: commit it" in fleet("lock", path).stdout
    assert list(locked(path)) == ["m:1b", "m:8b"]
    entry = locked(path)["m:8b"]
    assert entry["manifest"].encode() == site.files["/v2/library/m/manifests/8b"]
    assert entry["bytes"] == len(b'{"model_format": "gguf"}') + 2

    moved = site.add_model("library/m", "8b", b"other")
    said = fleet_json("lock", write(tmp_path, site, "m:8b", "m:2b"))["models"]
    states = {model: change["state"] for model, change in said.items()}
    assert states == {"m:1b": "dropped", "m:2b": "added", "m:8b": "kept"}
    assert locked(path)["m:8b"] == entry and moved not in entry["digest"]


def test_a_moved_tag_is_reported_and_taken_only_when_asked_for(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site, "m:8b", "m:1b")
    fleet("lock", path)
    fleet("lock", path, "--check")
    before = locked(path)
    for tag in ("8b", "1b"):
        site.add_model("library/m", tag, b"moved")
    text = path.with_suffix(".lock.json").read_text()
    done = fleet("lock", path, "--check", code=1)
    assert "moved       m:8b" in done.stdout and "a tag has moved" in done.stdout
    assert path.with_suffix(".lock.json").read_text() == text

    said = fleet_json("lock", path, "--update", "m:8b")
    change = said["models"]["m:8b"]
    assert change["state"] == "moved" and change["digest_before"] == before["m:8b"]["digest"]
    assert locked(path)["m:8b"]["digest"] == change["digest"] != change["digest_before"]
    assert locked(path)["m:1b"] == before["m:1b"]
    fleet("lock", path, "--update")
    fleet("lock", path, "--check")


def test_a_model_that_is_not_locked_fails_the_check(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site, "m:8b")
    assert "not locked  m:8b" in fleet("lock", path, "--check", code=1).stdout
    assert not path.with_suffix(".lock.json").exists()


def test_nothing_is_written_when_a_registry_does_not_answer(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site, "m:8b", "m:9b")
    done = fleet("lock", path, code=1)
    assert "m:9b: " in done.stderr and "has no tag 9b" in done.stderr
    assert not path.with_suffix(".lock.json").exists()


def test_registries_that_differ_are_no_lock(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site, "m:8b")
    content = yaml.safe_load(path.read_text())
    with serving(Site()) as other:
        other.add_model("library/m", "8b", b"another")
        content["hosts"]["two"] = content["hosts"]["one"] | {"ollama": {"registry": other.url}}
        path.write_text(yaml.safe_dump(content))
        said = fleet("lock", path, code=1).stderr
    assert "the registries of this fleet have different ones" in said
    assert "(one)" in said and "(two)" in said


def test_a_mirror_of_the_fleet_s_own_is_not_asked_for_what_it_may_not_have_yet(
    site: Site, tmp_path: Path
) -> None:
    path = write(tmp_path, site, "m:8b")
    content = yaml.safe_load(path.read_text())
    del content["ollama"]
    content["mirrors"] = {
        "depot": {"address": "127.0.0.1", "port": 1, "upstreams": {"models": site.url}}
    }
    path.write_text(yaml.safe_dump(content))
    fleet("lock", path)
    assert list(locked(path)) == ["m:8b"]
    # One that is somebody else's is there already, and where it fetches nobody knows.
    content["mirrors"] = {"depot": {"url": "http://127.0.0.1:1", "manage": False}}
    path.write_text(yaml.safe_dump(content))
    assert "http://127.0.0.1:1/v2" in fleet("lock", path, "--update", code=1).stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("m:8b",), "Only --update takes models"),
        (("--update", "x:1"), "names no model x:1; it has m:8b"),
        (("--update", "--check"), "give one of them"),
    ],
)
def test_options_that_cannot_be_meant_are_said(
    site: Site, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in fleet("lock", write(tmp_path, site, "m:8b"), *options, code=2).stderr


def test_a_deploy_gets_what_is_locked(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site, "m:8b", "m:1b")
    fleet("lock", path)
    ((_, data),) = load(str(path.with_suffix(".py")))
    plan = data["plan"]
    assert {lock.name for lock in plan.store.locked} == {"m:8b", "m:1b"}
    digest = locked(path)["m:8b"]["digest"].removeprefix("sha256:")
    from dataclasses import replace

    assert f" 8b {digest}\n" in models_job(replace(plan, release=RELEASE))


GOOD = {"config": {"digest": f"sha256:{'a' * 64}", "size": 1}, "layers": []}


def entry(**changes: Any) -> dict[str, Any]:
    import hashlib

    text = json.dumps(GOOD)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"digest": f"sha256:{digest}", "bytes": 1, "manifest": text, **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no lock file"),
        ("[]", "is no lock file"),
        ('{"version": 1, "models": 3}', "is no lock file"),
        ('{"version": 2, "models": {}}', "is of version 2"),
        ({"m:8b": 3}, "models.m:8b: has no `digest`"),
        ({"m:8b": entry(digest="sha256:12")}, "is no digest of the form"),
        ({"m:8b": entry(digest=f"sha256:{'0' * 64}")}, "does not have the digest"),
        ({"m:8b": entry(manifest=json.dumps(GOOD) + "\n")}, "does not have the digest"),
        ({"m:8b": entry(manifest="\ud800")}, "does not have the digest"),
        (
            {
                "m:8b": entry(
                    manifest="hello",
                    digest=f"sha256:{'2cf24dba5fb0a30e26e83b2ac5b9e29e'}"
                    "1b161e5c1fa7425e73043362938b9824",
                )
            },
            "is no manifest of a model",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["check", "plan", "lock"])
def test_a_broken_lock_file_stops_everything_before_a_host_is_touched(
    tmp_path: Path, verb: str, content: Any, words: str
) -> None:
    path = write(tmp_path, Site(url="http://127.0.0.1:1"), "m:8b")
    if not isinstance(content, str):
        content = json.dumps({"version": 1, "models": content})
    path.with_suffix(".lock.json").write_text(content)
    assert words in fleet(verb, path, code=2).stderr
