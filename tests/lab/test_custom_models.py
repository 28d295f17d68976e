"""Models of a person's own on a lab host: from a file of this machine, an address, a file of the host and
another model; as they are changed, broken, cut off and given up.

The stand-in behaves here as Ollama 0.32 does in two things that matter: it writes a GGUF file anew
when it makes a model of it, and sets the time of every blob that it goes on using to now.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.unchanged_run import count_execs
from lab.lab import Lab
from lab.models import load_table, make_gguf
from tests.lab.conftest import bare
from tests.lab.fleet import MIRROR, Fleet, Run

HOST = "gguf1"
MAKE = "Models | Make custom models"
WARM = "Warm | Load the models"
STORE = "/var/lib/ollama/models"
AS_THE_REAL_ONE = """
import os
_plain, _create, MARK = _weights, create, b" as llama-quantize writes it"
def _weights(store, digest):
    content = store.blob(_plain(store, digest).digest).read_bytes()
    return store.write_blob(content if content.endswith(MARK) else content + MARK, "model")
def create(store, name, base, request):
    for step in _create(store, name, base, request):
        if step.get("status") == "success":
            for layer in store.manifest(name).blobs:
                os.utime(store.blob(layer.digest))
        yield step
"""
# The first model of a slice is loaded by the verification; the others only by whoever asks them.
BOTH = ["qwen3:0.6b", "support-bot:7b"]
CHAT = {"name": "chat", "gpus": [0], "models": BOTH, "context": 8192}
REST = {"name": "rest", "gpus": [1], "models": ["team/persona:1", "web-bot:1", "disk-bot:1"]}


def weights(seed: str) -> bytes:
    """A real GGUF file, tiny, with random weights."""
    return make_gguf(seed, load_table()["qwen3:0.6b"])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def give(fleet: Fleet, path: str, content: bytes) -> None:
    """Put a file onto the host by way of the mirror."""
    served = fleet.lab.paths.mirror / "gguf" / "given"
    served.parent.mkdir(exist_ok=True)
    served.write_bytes(content)
    fleet.sh(HOST, f"mkdir -p {Path(path).parent}; curl -fsSo {path} {MIRROR}/gguf/given")
    if path.startswith(STORE):
        fleet.sh(HOST, f"chown ollama: {path}")


def definitions(fleet: Fleet) -> dict[str, Any]:
    return {
        "support-bot:7b": {
            "gguf": "files/bot.gguf",
            "parameters": {"num_ctx": 8192, "temperature": 0.3, "stop": ["<end>"]},
            "system": 'You say "hello" at once.',
        },
        "web-bot:1": {"gguf": f"{MIRROR}/gguf/web.gguf", "sha256": sha256(weights("web"))},
        "disk-bot:1": {"gguf": {"host": "/data/disk.gguf"}, "license": ["a", "b"]},
        "team/persona:1": {"from": "qwen3:0.6b", "template": "{{ .System }} {{ .Prompt }}"},
    }


@pytest.fixture(scope="module")
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host with all four, just deployed by somebody who has to become root first."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.user = "operator"
    fleet.add(bare(lab, HOST, "2x-rtx3090"))
    assert fleet.deploy().code == 0
    folder = "/opt/ollama/current/lib/ollama/standin"
    give(fleet, "/tmp/add.py", AS_THE_REAL_ONE.encode())
    fleet.sh(HOST, f"cat /tmp/add.py >>{folder}/create.py; touch /opt/ollama/current/.sha256")
    (fleet.folder / "files").mkdir()
    (fleet.folder / "files" / "bot.gguf").write_bytes(weights("bot"))
    (lab.paths.mirror / "gguf" / "web.gguf").write_bytes(weights("web"))
    give(fleet, "/data/disk.gguf", weights("disk"))
    fleet.settings["custom_models"] = definitions(fleet)
    fleet.add(HOST, CHAT, REST)
    run = fleet.deploy()
    assert run.code == 0, run.text
    yield fleet
    for name in ("web.gguf", "given"):
        (lab.paths.mirror / "gguf" / name).unlink(missing_ok=True)


@pytest.fixture
def made(host: Fleet) -> Iterator[Fleet]:
    """It, as it was: a test that changes something need not put it back."""
    content = (host.folder / "files" / "bot.gguf").read_bytes()
    yield host
    (host.folder / "files" / "bot.gguf").write_bytes(content)
    host.settings["custom_models"] = definitions(host)
    host.add(HOST, CHAT, REST)
    run = host.deploy()
    assert run.code == 0, run.text


def ask(fleet: Fleet, port: int, path: str, **body: Any) -> Any:
    data = f" -d '{json.dumps(body)}'" if body else ""
    return json.loads(fleet.sh(HOST, f"curl -s http://127.0.0.1:{port}/api/{path}{data}"))


def shown(fleet: Fleet, model: str) -> Any:
    return ask(fleet, 11434, "show", model=model)


def loaded(fleet: Fleet, port: int) -> list[tuple[str, str]]:
    """Models in memory with their manifests' digests."""
    return sorted((entry["name"], entry["digest"]) for entry in ask(fleet, port, "ps")["models"])


def in_store(fleet: Fleet, *models: str) -> list[tuple[str, str]]:
    """The same of models that are in the store."""
    return sorted((name, digest_of(fleet, name)) for name in models)


def digest_of(fleet: Fleet, model: str) -> str:
    return {m["name"]: m["digest"] for m in ask(fleet, 11434, "tags")["models"]}[model]


def unreferenced(fleet: Fleet) -> str:
    """Blobs that no manifest names, and whatever else lies among them."""
    return fleet.sh(
        HOST,
        f"cd {STORE} && find manifests -type f -exec grep -oh 'sha256:[0-9a-f]*' {{}} + | tr : - | "
        "sort -u >/tmp/used; ls blobs | sort | comm -23 - /tmp/used",
    )


def runners(fleet: Fleet) -> list[str]:
    return sorted(fleet.sh(HOST, "pgrep -f '[l]lama-server' || :").split())


def assert_refused(fleet: Fleet, run: Run, *words: str) -> None:
    """The run failed in these words, and the model that was there still answers."""
    assert run.code == 1 and "Traceback" not in run.text, run.text
    for word in words:
        assert word in run.text, run.text


def test_models_of_all_four_origins_serve(made: Fleet) -> None:
    for port, model in ((11434, "support-bot:7b"), *((11435, name) for name in REST["models"])):
        answer = ask(made, port, "generate", model=model, prompt="hello", stream=False)
        assert answer.get("done") and answer["response"], answer
    bot = shown(made, "support-bot:7b")
    assert bot["system"] == 'You say "hello" at once.'
    assert "num_ctx" in bot["parameters"] and "<end>" in bot["parameters"]
    assert shown(made, "team/persona:1")["template"] == "{{ .System }} {{ .Prompt }}"
    assert shown(made, "disk-bot:1")["license"] == "a\nb"


def test_a_file_that_ollama_wrote_anew_takes_no_room_twice(made: Fleet) -> None:
    assert unreferenced(made) == ""
    assert made.sh(HOST, f"find {STORE}/custom -name '.*' -type f") == ""
    owners = made.sh(HOST, f"find {STORE} -printf '%u\n' | sort -u")
    assert owners == "ollama"
    assert "ollama-fleet" not in json.dumps(ask(made, 11434, "tags"))
    assert made.sh(HOST, "systemctl is-active ollama-loader || :") == "inactive"


def test_a_second_run_asks_twice_and_changes_nothing(made: Fleet) -> None:
    before = made.pids(HOST, "chat", "rest"), runners(made)
    assert count_execs(made.command("-y")[1:]) == 2
    assert made.deploy().changed() == {}
    assert (made.pids(HOST, "chat", "rest"), runners(made)) == before


def test_a_changed_parameter_is_served_and_disturbs_nobody(made: Fleet) -> None:
    before = made.pids(HOST, "chat", "rest"), runners(made)
    made.settings["custom_models"]["support-bot:7b"]["parameters"]["temperature"] = 0.9
    del made.settings["custom_models"]["support-bot:7b"]["parameters"]["stop"]
    run = made.deploy()
    assert run.code == 0 and run.changed() == {MAKE: [HOST]}, run.text
    assert "making support-bot:7b" in run.text and "making disk-bot" not in run.text
    said = shown(made, "support-bot:7b")["parameters"]
    assert "0.9" in said and "<end>" not in said
    assert (made.pids(HOST, "chat", "rest"), runners(made)) == before
    assert unreferenced(made) == ""
    assert made.deploy().changed() == {}


def test_new_weights_take_the_place_of_the_old_ones_in_memory(made: Fleet) -> None:
    before, old = made.pids(HOST, "chat", "rest"), digest_of(made, "support-bot:7b")
    rest = loaded(made, 11435)
    ask(made, 11434, "generate", model="support-bot:7b")
    assert loaded(made, 11434) == in_store(made, *BOTH)
    (made.folder / "files" / "bot.gguf").write_bytes(weights("another bot"))
    run = made.deploy()
    assert run.code == 0 and run.changed() == {MAKE: [HOST]}, run.text
    assert digest_of(made, "support-bot:7b") != old
    assert loaded(made, 11434) == in_store(made, *BOTH)
    assert loaded(made, 11435) == rest
    assert made.pids(HOST, "chat", "rest") == before
    assert unreferenced(made) == ""


def test_a_server_that_does_not_let_go_is_restarted(made: Fleet) -> None:
    """Somebody's request goes on and on."""
    before = made.pids(HOST, "chat", "rest")
    request = json.dumps(
        {"model": "support-bot:7b", "prompt": "x", "options": {"num_predict": 99999}}
    )
    made.sh(HOST, f"systemd-run -q curl -sN 127.0.0.1:11434/api/generate -d '{request}'; sleep 1")
    (made.folder / "files" / "bot.gguf").write_bytes(weights("a third bot"))
    made.add(HOST, CHAT, REST, drain_timeout_s=2)
    run = made.deploy()
    assert run.code == 0, run.text
    assert "holds on to the earlier support-bot:7b; restarting it" in run.text
    after = made.pids(HOST, "chat", "rest")
    assert after["chat"] != before["chat"] and after["rest"] == before["rest"]
    assert loaded(made, 11434) == in_store(made, *BOTH)


def test_a_file_of_the_host_that_changed_is_taken_anew(made: Fleet) -> None:
    old = digest_of(made, "disk-bot:1")
    made.sh(HOST, "touch /data/disk.gguf")
    assert made.deploy().code == 0
    assert digest_of(made, "disk-bot:1") == old
    give(made, "/data/disk.gguf", weights("another disk"))
    run = made.deploy()
    assert run.code == 0 and "making disk-bot:1" in run.text, run.text
    assert digest_of(made, "disk-bot:1") != old
    give(made, "/data/disk.gguf", weights("disk"))


def test_what_ollama_says_within_its_answer_is_heard_and_the_old_model_serves_on(
    made: Fleet,
) -> None:
    old = digest_of(made, "disk-bot:1")
    give(made, "/data/disk.gguf", b"GGUF, or so it says")
    run = made.deploy()
    assert_refused(
        made, run, "disk-bot:1: Ollama cannot make it: ", "the one that is here still serves"
    )
    assert digest_of(made, "disk-bot:1") == old
    assert ask(made, 11435, "generate", model="disk-bot:1", prompt="x", stream=False)["response"]
    give(made, "/data/disk.gguf", weights("disk"))

    made.settings["custom_models"]["team/persona:1"]["template"] = "{{ .Prompt"
    run = made.deploy()
    assert_refused(made, run, "team/persona:1: Ollama cannot make it: template: unclosed action")
    assert shown(made, "team/persona:1")["template"] == "{{ .System }} {{ .Prompt }}"


def test_an_address_that_has_another_file_is_refused(made: Fleet) -> None:
    old = digest_of(made, "web-bot:1")
    made.settings["custom_models"]["web-bot:1"]["sha256"] = "ab" * 32
    run = made.deploy()
    assert_refused(made, run, "web-bot:1: the sha256 of", "it is broken at its source")
    assert digest_of(made, "web-bot:1") == old


def test_a_file_that_arrives_broken_is_refused_and_sent_again(made: Fleet) -> None:
    """The first half is there from a try that was cut off, and a bit of it has changed."""
    old, content = digest_of(made, "support-bot:7b"), weights("a fourth bot")
    (made.folder / "files" / "bot.gguf").write_bytes(content)
    broken = bytes([content[0] ^ 1]) + content[1 : len(content) // 2]
    give(made, f"{STORE}/custom/.incoming-sha256-{sha256(content)}", broken)
    run = made.deploy()
    assert_refused(made, run, "support-bot:7b: the sha256 of what arrived of", "still serves")
    assert digest_of(made, "support-bot:7b") == old
    give(made, f"{STORE}/custom/.incoming-sha256-{sha256(content)}", content[: len(content) // 2])
    run = made.deploy()
    assert run.code == 0, run.text
    assert digest_of(made, "support-bot:7b") != old


def test_a_model_that_somebody_changed_or_that_was_cut_off_is_made_again(made: Fleet) -> None:
    old = digest_of(made, "support-bot:7b"), digest_of(made, "team/persona:1")
    manifests = f"{STORE}/manifests/registry.ollama.ai"
    made.sh(
        HOST,
        f"cp {manifests}/library/qwen3/0.6b {manifests}/library/support-bot/7b; "
        f"rm {STORE}/custom/team+persona:1; "
        f"mkdir -p {manifests}/ollama-fleet/new; "
        f"cp {manifests}/library/qwen3/0.6b {manifests}/ollama-fleet/new/latest; "
        f"echo x | tee {STORE}/blobs/COPY1234 >{STORE}/blobs/sha256-5678; chown -R ollama: {STORE}",
    )
    run = made.deploy()
    assert run.code == 0 and run.changed() == {MAKE: [HOST], WARM: [HOST]}, run.text
    assert (digest_of(made, "support-bot:7b"), digest_of(made, "team/persona:1")) == old
    assert unreferenced(made) == ""
    assert made.deploy().changed() == {}


def test_old_weights_go_even_when_the_run_that_replaced_them_was_cut_off(made: Fleet) -> None:
    """As a run leaves it that ends between the switch and the unloading."""
    manifest = f"{STORE}/manifests/registry.ollama.ai/library/support-bot/7b"
    made.sh(HOST, f"rm -rf /srv/kept; cp -al {STORE}/blobs /srv/kept; cp -p {manifest} /srv/first")
    first = digest_of(made, "support-bot:7b")
    (made.folder / "files" / "bot.gguf").write_bytes(weights("a fifth bot"))
    assert made.deploy().code == 0
    second = digest_of(made, "support-bot:7b")
    made.sh(
        HOST,
        f"cp -aln /srv/kept/. {STORE}/blobs; cp -p {manifest} /srv/second; cp /srv/first {manifest}",
    )
    ask(made, 11434, "generate", model="support-bot:7b")
    assert ("support-bot:7b", first) in loaded(made, 11434)
    made.sh(
        HOST,
        f"cp /srv/second {manifest}; cd {STORE}/custom && rm support-bot:7b && "
        "cp -p /srv/first .old-support-bot:7b-0123456789abcdef",
    )
    run = made.deploy()
    assert run.code == 0 and "unloading the earlier support-bot:7b" in run.text, run.text
    assert digest_of(made, "support-bot:7b") == second
    assert loaded(made, 11434) == in_store(made, *BOTH)
    assert unreferenced(made) == ""


def test_weights_that_rot_are_found_by_the_weekly_look_and_made_again(made: Fleet) -> None:
    """Size and time are as before: nobody else would notice."""
    old = digest_of(made, "web-bot:1")
    manifest = json.loads(
        made.sh(HOST, f"cat {STORE}/manifests/registry.ollama.ai/library/web-bot/1")
    )
    name = manifest["layers"][0]["digest"].replace(":", "-")
    made.sh(
        HOST,
        f"cd {STORE}/blobs && touch -r {name} /tmp/time && printf X | "
        f"dd of={name} bs=1 seek=99999 conv=notrunc status=none && touch -r /tmp/time {name}",
    )
    assert made.deploy().changed() == {}
    assert made.lab.ssh(HOST, "systemctl start ollama-scrub").returncode != 0
    assert name in made.sh(HOST, f"ls {STORE}/quarantine")
    run = made.deploy()
    assert run.code == 0 and "making web-bot:1" in run.text, run.text
    assert digest_of(made, "web-bot:1") == old


def test_only_what_is_listed_stays_and_custom_models_are(made: Fleet) -> None:
    made.sh(
        HOST, f"cd {STORE}/manifests/registry.ollama.ai/library && mkdir x && cp qwen3/0.6b x/1"
    )
    made.add(HOST, CHAT, REST | {"models": REST["models"][:2]}, models={"keep_unlisted": False})
    del made.settings["custom_models"]["disk-bot:1"]
    run = made.deploy()
    assert run.code == 0 and "making" not in run.text, run.text
    names = {model["name"] for model in ask(made, 11434, "tags")["models"]}
    assert names == {"support-bot:7b", "team/persona:1", "web-bot:1", "qwen3:0.6b"}
    assert unreferenced(made) == ""
    stamps = made.sh(HOST, f"ls {STORE}/custom").split()
    assert stamps == ["support-bot:7b", "team+persona:1", "web-bot:1"]
    assert made.deploy().changed() == {}
