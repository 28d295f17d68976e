"""Custom models before any host is touched: what may be written, what it becomes, when it is made again."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.custom_state import (
    HOST_FILES,
    MANIFESTS,
    STAMPS,
    definition,
    make_steps,
    missing_host_files,
    read_custom,
    request,
)
from ollama_fleet.fetching import models_job
from ollama_fleet.file_digests import file_sha256, with_digests
from ollama_fleet.host.models import BLOBS, SOUND, STORED, asked, read_store
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from ollama_fleet.locking import named_models
from ollama_fleet.model_lock import with_lock
from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answer
from ollama_fleet.room import Room, disk_problems
from ollama_fleet.store import parse_name
from tests.unit.examples import RELEASE
from tests.unit.test_catalogue_gguf import write_model

SHA = "ab" * 32
CHAT = {"name": "chat", "gpus": [0], "models": ["bot:1"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_model(tmp_path / "bot.gguf")
    (tmp_path / "system.txt").write_text("Be kind.\n")
    return tmp_path


def write(folder: Path, custom: dict[str, Any], *slices: dict[str, Any], **more: Any) -> Path:
    host = {"gpus": [{"model": "RTX 3090"}], "slices": list(slices or (CHAT,))}
    content = {"version": 1, "custom_models": custom, "hosts": {"a": host}, **more}
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def plan_of(folder: Path, custom: dict[str, Any], *slices: dict[str, Any], **more: Any) -> HostPlan:
    fleet = load_fleet(write(folder, custom, *slices, **more))
    return replace(plan_fleet(fleet).required().hosts["a"], release=RELEASE)


FROM = {"from": "qwen3:8b"}
WRONG = {
    "two origins": (
        {"bot:1": FROM | {"gguf": "bot.gguf"}},
        "custom_models.bot:1: says both `gguf:` and `from:`; a model is made of one of them",
    ),
    "no origin": ({"bot:1": {}}, "custom_models.bot:1: says neither `gguf:` nor `from:`"),
    "no such file": (
        {"bot:1": {"gguf": "gone.gguf"}},
        "gone.gguf is no file here; it has to lie on the machine that deploys",
    ),
    "no GGUF file": (
        {"bot:1": {"gguf": "system.txt"}},
        "custom_models.bot:1.gguf: {folder}/system.txt is no model: no GGUF file",
    ),
    "an address without a checksum": (
        {"bot:1": {"gguf": "https://x/y.gguf"}},
        "custom_models.bot:1.sha256: is missing; hosts fetch nothing that they cannot check",
    ),
    "a login in an address": (
        {"bot:1": {"gguf": "https://me:secret@x/y.gguf", "sha256": SHA}},
        "custom_models.bot:1.gguf: is no address such as https://host/file.gguf; a login goes to "
        "/etc/ollama/netrc",
    ),
    "two lines in an address": (
        {"bot:1": {"gguf": "https://x/y.gguf\nabsent registry.ollama.ai/x", "sha256": SHA}},
        "custom_models.bot:1.gguf: is no address",
    ),
    "a checksum in the wrong place": (
        {"bot:1": {"gguf": {"host": "/x.gguf"}, "sha256": SHA}},
        "belongs into `gguf: {host: …, sha256: …}`; move it there",
    ),
    "a relative path on the host": (
        {"bot:1": {"gguf": {"host": "x.gguf"}}},
        "custom_models.bot:1.gguf.host: 'x.gguf' does not have the form",
    ),
    "a misspelt key of a file": (
        {"bot:1": {"gguf": {"hots": "/x.gguf"}}},
        "custom_models.bot:1.gguf.hots: unknown key; did you mean 'host'?",
    ),
    "a misspelt key": (
        {"bot:1": {"form": "qwen3:8b"}},
        "custom_models.bot:1.form: unknown key; did you mean 'from'?",
    ),
    "an unknown parameter": (
        {"bot:1": FROM | {"parameters": {"num_context": 4096}}},
        "custom_models.bot:1.parameters.num_context: unknown key; did you mean 'num_ctx'?",
    ),
    "a parameter of another type": (
        {"bot:1": FROM | {"parameters": {"top_k": 1.5}}},
        "custom_models.bot:1.parameters.top_k: should be a valid integer, not 1.5",
    ),
    "layers away from the GPU": (
        {"bot:1": FROM | {"parameters": {"num_gpu": 10}}},
        "parameters.num_gpu: cannot be set here: all layers lie on the slice's GPUs",
    ),
    "a context that differs": (
        {"bot:1": FROM | {"parameters": {"num_ctx": 8192}}},
        "hosts.a.slices[0].context: is 4096, but bot:1 has `num_ctx: 8192`, which requests without "
        "options would get; write `context: 8192` here, or drop num_ctx from "
        "custom_models.bot:1.parameters",
    ),
    "a context that it has from its base": (
        {
            "base:1": FROM | {"parameters": {"num_ctx": 8192}},
            "bot:1": {"from": "base:1"},
        },
        "hosts.a.slices[0].context: is 4096, but base:1 has `num_ctx: 8192`",
    ),
    "a name of the library": (
        {"bot:1": FROM, "qwen3:4b": FROM},
        "custom_models.qwen3:4b: would hide the library's qwen3:4b",
    ),
    "capital letters": ({"bot:1": FROM, "Bot:2": FROM}, "custom_models.Bot:2: is no name for"),
    "a registry in the name": ({"bot:1": FROM, "x.io/a/b": FROM}, "is no name for"),
    "one name twice": (
        {"bot:1": FROM, "x": FROM, "x:latest": FROM},
        "custom_models.x:latest: is the same model as 'x'; keep one of them",
    ),
    "a circle": (
        {"bot:1": {"from": "b:1"}, "b:1": {"from": "bot:1"}},
        "custom_models.bot:1.from: bot:1 is made from b:1 is made from bot:1; one of them",
    ),
    "text and file": (
        {"bot:1": FROM | {"system": "x", "system_file": "system.txt"}},
        "custom_models.bot:1.system_file: says the same as `system:`; keep one of them",
    ),
    "a text that is not there": (
        {"bot:1": FROM | {"template_file": "gone.txt"}},
        "custom_models.bot:1.template_file: {folder}/gone.txt cannot be read: No such file",
    ),
    "a message from nobody": (
        {"bot:1": FROM | {"messages": [{"role": "bot", "content": "x"}]}},
        "custom_models.bot:1.messages[0].role: should be 'system', 'user' or 'assistant'",
    ),
}


@pytest.mark.parametrize(("custom", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_definition_says_where_and_what_instead(
    folder: Path, custom: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_fleet(write(folder, custom))
    assert words.replace("{folder}", str(folder)) in str(caught.value)


def test_a_wish_with_another_context_is_refused_too(folder: Path) -> None:
    custom = {"bot:1": FROM | {"parameters": {"num_ctx": 8192}}}
    wish = [{"model": "bot:1", "context": 2048}]
    with pytest.raises(InputError, match=r"wishes\[0\].context: is 2048, but bot:1 has"):
        load_fleet(write(folder, custom, {"name": "x", "gpus": [0]}, wishes=wish))


def test_a_file_is_planned_by_its_header_and_another_model_by_its_base(folder: Path) -> None:
    custom = {
        "bot:1": {"gguf": "bot.gguf"},
        "twin:1": {"from": "qwen3:8b", "parameters": {"num_batch": 2048}},
    }
    plan = plan_of(folder, custom, CHAT | {"models": ["bot:1", "twin:1"]})
    assert plan.notes == ()
    bot, twin = plan.memory[0].uses
    same = plan_of(folder, custom, CHAT | {"models": ["qwen3:8b"]}).memory[0].uses[0]
    terms = {term.name: term.mib for term in twin.terms}
    assert terms["weights"] == {term.name: term.mib for term in same.terms}["weights"] > 4000
    assert bot.terms[0].mib < 1
    graphs = {use.terms[-2].formula.split(",")[0] for use in (twin, same)}
    assert graphs == {"activations of a batch of 2048", "activations of a batch of 512"}


def test_nothing_is_known_of_a_file_elsewhere_unless_the_catalogue_says_it(folder: Path) -> None:
    custom = {"bot:1": {"gguf": "https://x/y.gguf", "sha256": SHA}}
    assert "nothing is known of bot:1" in plan_of(folder, custom).notes[0]
    fleet = load_fleet(write(folder, {"bot:1": {"gguf": "bot.gguf"}}))
    described = fleet.catalogue.models[0].model_dump(mode="json")
    more = {"catalogue": {"models": [described]}}
    assert plan_of(folder, custom, **more).notes == ()
    with pytest.raises(InputError, match="or describe it under `catalogue"):
        load_fleet(write(folder, custom, {"name": "x", "gpus": [0]}, wishes=[{"model": "bot:1"}]))


def test_only_hosts_that_serve_a_model_make_it_after_what_it_is_made_from(folder: Path) -> None:
    custom = {"bot:1": {"from": "b:1"}, "other:1": FROM, "b:1": FROM}
    plan = plan_of(folder, custom)
    assert [model.name for model in plan.custom] == ["b:1", "bot:1"]
    assert plan.models == ("bot:1", "qwen3:8b", "b:1")
    assert plan.pulled == ("qwen3:8b",)
    assert plan_of(folder, custom, {"name": "x", "gpus": [0]}).custom == ()


def test_the_request_says_what_was_written(folder: Path) -> None:
    told = {
        "parameters": {"temperature": 1, "stop": ["a"], "use_mmap": False},
        "system_file": "system.txt",
        "messages": [{"role": "user", "content": "hi"}],
        "license": "MIT",
    }
    plan = plan_of(folder, {"bot:1": FROM | told, "f:1": {"gguf": "bot.gguf"}})
    assert json.loads(request(plan.custom[0])) == {
        "model": "ollama-fleet/new",
        "from": "qwen3:8b",
        "parameters": {"temperature": 1.0, "stop": ["a"], "use_mmap": False},
        "system": "Be kind.\n",
        "messages": [{"role": "user", "content": "hi"}],
        "license": "MIT",
    }


def test_a_definition_is_what_is_said_and_what_the_file_holds(folder: Path) -> None:
    def digest(**spec: Any) -> str:
        return definition(plan_of(folder, {"bot:1": spec}).custom[0])

    web = {"gguf": "https://x/y.gguf", "sha256": SHA}
    assert digest(**web) == digest(gguf="https://elsewhere/z.gguf", sha256=SHA)
    assert digest(**web) == digest(gguf={"host": "/x.gguf", "sha256": SHA})
    assert digest(gguf={"host": "/x.gguf"}) != digest(gguf={"host": "/y.gguf"})
    assert digest(**web, system="a") != digest(**web, system="b")
    assert digest(**FROM) != digest(**{"from": "qwen3:4b"})
    assert digest(**FROM, parameters={"seed": 1}) != digest(**FROM, parameters={"seed": 2})


def test_files_are_fetched_by_the_host_and_manifests_kept(folder: Path) -> None:
    custom = {"bot:1": {"gguf": "https://x/y.gguf", "sha256": SHA}, "b:1": FROM}
    job = models_job(plan_of(folder, custom, CHAT | {"models": ["bot:1", "b:1"]})).splitlines()
    assert f"source bot:1 {SHA} https://x/y.gguf" in job
    library = "registry.ollama.ai/library"
    assert {f"keep {library}/bot/1", f"keep {library}/b/1"} < set(job)
    assert [line.split()[1] for line in job if line.startswith("model ")] == ["qwen3:8b"]


def test_what_is_made_here_is_not_looked_for_at_a_registry(folder: Path) -> None:
    """It is made from a locked model as well; the lock has the base only."""
    plan = plan_of(folder, {"bot:1": FROM})
    assert set(named_models({"a": plan}, {"a": None})) == {"qwen3:8b"}
    lock = {name: LockedModel(name, "cd" * 32, MANIFEST) for name in plan.models}
    assert [one.name for one in with_lock({"a": plan}, lock)["a"].store.locked] == ["qwen3:8b"]


MANIFEST = json.dumps(
    {"config": {"digest": "sha256:aa", "size": 3}, "layers": [{"digest": "sha256:bb", "size": 7}]}
)


def answers(plan: HostPlan, **changes: str) -> dict[str, Answer]:
    """A host on which every custom model is as defined; its manifests' digests are their paths'."""
    stamps, digests = [], []
    for model in plan.custom:
        path = parse_name(model.name).path
        digests += [f"{path[-8:]} {path}"]
        lines = [f"definition {definition(model)}", f"manifest {path[-8:]}"]
        if model.kind == "from":
            base = parse_name(model.source).path
            digests.append(f"{base[-8:]} {base}")
            lines.append(f"base {base[-8:]}")
        else:
            lines += [f"source {model.sha256 or 'cd' * 32} bb", "seen 5 1.5 9"]
        stamps += [f"{model.name.replace('/', '+')}:{line}" for line in lines]
    blobs = "sha256-aa 3 1\nsha256-bb 7 1"
    texts = {BLOBS: blobs, SOUND: blobs, STORED: "", **dict.fromkeys(plan.models, MANIFEST)}
    files = "\n".join(f"{m.source} 5 1.5 9" for m in plan.custom if m.kind == "host")
    told = {STAMPS: "\n".join(stamps), MANIFESTS: "\n".join(digests), HOST_FILES: files, **changes}
    return {name: Answer(text) for name, text in (texts | told).items()}


EACH = {
    "url": {"gguf": "https://x/y.gguf", "sha256": SHA},
    "host": {"gguf": {"host": "/x.gguf"}},
    "from": FROM,
}


@pytest.mark.parametrize("spec", EACH.values(), ids=EACH)
def test_what_is_as_defined_is_left_alone(folder: Path, spec: dict[str, Any]) -> None:
    plan = plan_of(folder, {"bot:1": spec})
    found = answers(plan)
    assert asked(plan).keys() <= found.keys()
    assert not read_store(plan, found) and not read_store(plan, found).custom


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("url", "definition", "definition x"),
        ("url", "manifest", "manifest x"),
        ("from", "base", "base x"),
        ("host", "seen", "seen 6"),
    ],
)
def test_what_differs_is_made_again(folder: Path, kind: str, old: str, new: str) -> None:
    plan = plan_of(folder, {"bot:1": EACH[kind]})
    found = answers(plan)
    found[STAMPS] = Answer(found[STAMPS].text.replace(f":{old} ", f":{new}"))
    assert read_store(plan, found).custom.to_make == plan.custom


def test_a_model_whose_blob_is_broken_is_made_again(folder: Path) -> None:
    plan = plan_of(folder, {"bot:1": EACH["url"]})
    found = answers(plan, **{SOUND: "sha256-aa 3 1"})
    state = read_store(plan, found)
    assert state.custom.to_make == state.custom.lacking == plan.custom
    assert state.missing == ("bot:1",)  # the host fetches its file


def test_what_is_made_from_a_model_that_is_made_again_is_too(folder: Path) -> None:
    plan = plan_of(folder, {"bot:1": {"from": "b:1"}, "b:1": FROM})
    found = answers(plan)
    found[STAMPS] = Answer(found[STAMPS].text.replace("b:1:definition ", "b:1:definition x"))
    names = [model.name for model in read_store(plan, found).custom.to_make]
    assert names == ["b:1", "bot:1"]


def test_what_ollama_made_of_a_file_is_not_brought_again(folder: Path) -> None:
    """It wrote the file anew, and the file is gone; another system prompt needs no second transfer."""
    plan = plan_of(folder, {"bot:1": EACH["url"]})
    changed = plan_of(folder, {"bot:1": EACH["url"] | {"system": "x"}})
    state = read_store(changed, answers(plan))
    assert state.custom.to_make == changed.custom
    assert state.custom.lacking == () and not state


def test_a_file_that_is_not_on_the_host_is_said_before_anything_changes(folder: Path) -> None:
    plan = plan_of(folder, {"bot:1": EACH["host"]})
    nothing = {STAMPS: "", MANIFESTS: "", HOST_FILES: ""}
    found = answers(plan, **nothing)
    state = read_custom(plan, found, {}, frozenset())
    (problem,) = missing_host_files(plan, found, state)
    assert problem.startswith("bot:1: there is no /x.gguf on this host; put it there")


def test_files_of_tries_that_failed_are_tidied_when_the_old_definition_is_back(
    folder: Path,
) -> None:
    plan = plan_of(folder, {"bot:1": EACH["url"]})
    found = answers(plan)
    found[STAMPS] = Answer(f"{found[STAMPS].text}\n.source-bot:1:{'ef' * 32}")
    state = read_store(plan, found).custom
    assert state.to_make == () and state.to_tidy == plan.custom and state
    assert make_steps(plan, state)[-1] == "tidy_up bot:1"


def test_disk_is_asked_for_the_file_and_the_copies_that_ollama_writes(folder: Path) -> None:
    plan = plan_of(folder, {"bot:1": {"gguf": "bot.gguf"}})
    size = (folder / "bot.gguf").stat().st_size
    assert disk_problems(plan, Room(3 * size, None, frozenset())) == []
    assert "1 models to pull need" in disk_problems(plan, Room(3 * size - 1, None, frozenset()))[0]
    stored = frozenset({"registry.ollama.ai/library/bot/1"})
    assert disk_problems(plan, Room(0, None, stored)) == []


def test_a_file_is_hashed_once_and_again_when_it_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "bot.gguf"
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_sha256(path) == right
    read: list[Path] = []
    monkeypatch.setattr("ollama_fleet.file_digests._hash", lambda path, _: read.append(path) or "x")
    assert file_sha256(path) == right and read == []
    path.write_bytes(path.read_bytes() + b"x")
    assert file_sha256(path) == "x" and read == [path]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"%s": 3}'])
def test_a_broken_cache_is_none(folder: Path, content: str) -> None:
    path = folder / "bot.gguf"
    cache = folder / "cache" / "ollama-fleet" / "sha256.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(content.replace("%s", str(path)))
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_of_a_file_here_travels_in_the_plan_and_is_held_against_the_inventory(
    folder: Path,
) -> None:
    path = write(folder, {"bot:1": {"gguf": "bot.gguf"}})
    ((_, data),) = fleet_hosts(load_fleet(path), path)
    right = hashlib.sha256((folder / "bot.gguf").read_bytes()).hexdigest()
    assert data["plan"].custom[0].sha256 == right
    plan = plan_of(folder, {"bot:1": {"gguf": "bot.gguf", "sha256": SHA}})
    with pytest.raises(InputError) as caught:
        with_digests(plan, "prod.yml")
    said = str(caught.value)
    assert said.startswith(f"prod.yml custom_models.bot:1.sha256: {folder}/bot.gguf has {right};")
