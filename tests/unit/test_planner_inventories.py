"""Wishes that cannot be meant are explained with their line, as every other wrong input is."""

from pathlib import Path

import pytest

from ollama_fleet.inventory import load
from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError

HOSTS = """\
hosts:
  gpu01:
    gpus: [{model: A100-SXM4-40GB, count: 2}, {model: RTX 3090, count: 2}]
"""
GOOD = (
    """\
version: 1
wishes:
  - {name: chat, model: "qwen3:8b", replicas: 2}
"""
    + HOSTS
)


def wish(text: str) -> str:
    return GOOD.replace('{name: chat, model: "qwen3:8b", replicas: 2}', f"{{{text}}}")


CASES = {
    "unknown model": (
        wish('model: "qwen3:9b"'),
        ":3 wishes[0].model: no model is named 'qwen3:9b'; nearest: qwen3:8b",
    ),
    "model that the library lacks": (
        wish('models: ["qwen3:8b", "qwen2:14b"]'),
        ":3 wishes[0].models[1]: the library has no qwen2:14b; nearest: qwen2.5:14b",
    ),
    "the same in a slice": (
        GOOD + '    slices: [{name: x, gpus: [0], models: ["llama3:13b"]}]\n',
        ":7 hosts.gpu01.slices[0].models[0]: the library has no llama3:13b; nearest: llama3:8b",
    ),
    "unknown GPU": (
        GOOD.replace("RTX 3090", "RTX 309"),
        ":6 hosts.gpu01.gpus[1].model: no GPU is named 'RTX 309'; nearest: NVIDIA GeForce RTX 3090",
    ),
    "unknown GPU of a wish": (wish('model: "qwen3:8b", gpu: B300'), "wishes[0].gpu: no GPU is"),
    "GPU that no host has": (wish('model: "qwen3:8b", gpu: L40S'), "no host here has a L40S"),
    "context beyond the model's": (
        wish('model: "llama3:8b", context: 65536'),
        ":3 wishes[0].context: 65536 tokens are beyond llama3:8b's 8192; write 8192 or less",
    ),
    "the same in a slice's": (
        GOOD + '    slices: [{name: x, gpus: [0], models: ["yi:34b"], context: 200000}]\n',
        "hosts.gpu01.slices[0].context: 200000 tokens are beyond yi:34b's 4096",
    ),
    "profile that the card lacks": (
        GOOD + "    mig: [{gpus: [0], profiles: [3g.40gb]}]\n",
        ":7 hosts.gpu01.mig[0].profiles[0]: NVIDIA A100-SXM4-40GB has no MIG profile 3g.40gb",
    ),
    "profiles that are too much": (
        GOOD + "    mig: [{gpus: [0], profiles: [4g.20gb, 3g.20gb, 1g.5gb]}]\n",
        "need 8 compute and 9 memory slices together; NVIDIA A100-SXM4-40GB has 7 and 8",
    ),
    "too many of a profile": (
        GOOD + "    mig: [{gpus: [0], profiles: [3g.20gb, 3g.20gb, 3g.20gb]}]\n",
        "holds 2 × 3g.20gb at most",
    ),
    "card that cannot be cut": (
        GOOD + "    mig: [{gpus: [2]}]\n",
        "hosts.gpu01.mig[0].gpus: NVIDIA GeForce RTX 3090 cannot be cut into MIG instances",
    ),
    "profile of a wish": (
        GOOD.replace("replicas: 2", "mig: 9g.99gb") + "    mig: [{gpus: [0]}]\n",
        "wishes[0].mig: NVIDIA A100-SXM4-40GB has no MIG profile 9g.99gb: it has 1g.5gb",
    ),
    "instance that nobody offers": (
        GOOD.replace("replicas: 2", "mig: 3g.20gb"),
        "wishes[0].mig: no host cuts a GPU into instances; add `mig: [{gpus: [0]}]`",
    ),
    "model over instances": (
        GOOD.replace("replicas: 2", "mig: 3g.20gb, gpus: 2"),
        "no model can be split over MIG instances",
    ),
    "no model": (wish("name: chat"), ":3 wishes[0].models: names no model"),
    "model twice": (
        wish('models: ["qwen3:8b", "qwen3:8b"]'),
        "names a model twice; `replicas:` makes more slices of it",
    ),
    "no such host": (wish('model: "qwen3:8b", hosts: [gpu9*]'), "is no host here; there are gpu01"),
    "name twice": (
        GOOD.replace("hosts:\n", "  - {name: chat, model: phi}\nhosts:\n", 1),
        ":4 wishes[1].name: 'chat' is the name of wishes[0] too",
    ),
    "name that the fleet uses": (wish('name: loader, model: "qwen3:8b"'), "used by the fleet"),
    "pool of two settings": (
        wish('model: "qwen3:8b", pool: a').replace(
            "hosts:\n", '  - {model: "llama3:8b", pool: a, context: 8192}\nhosts:\n', 1
        ),
        ":4 wishes[1].context: differs from wishes[0], which is in pool 'a' too",
    ),
    "pool with a model twice": (
        wish('model: "qwen3:8b", pool: a').replace(
            "hosts:\n", '  - {name: b, model: "qwen3:8b", pool: a}\nhosts:\n', 1
        ),
        "qwen3:8b is in wishes[0] of the same pool; write `replicas:` there",
    ),
    "pool over several GPUs": (
        wish('model: "qwen3:8b", pool: a, gpus: 2'),
        "a pool packs models onto single GPUs",
    ),
    "reserved GPU in a slice": (
        GOOD + "    reserved: [1]\n    slices: [{name: x, gpus: [0, 1]}]\n",
        ":8 hosts.gpu01.slices[0].gpus[1]: GPU 1 is reserved; choose another",
    ),
    "cut GPU in a slice": (
        GOOD + "    mig: [{gpus: [0]}]\n    slices: [{name: x, gpus: [0]}]\n",
        "GPU 0 is cut into MIG instances, which only wishes use",
    ),
    "reserved GPU that is cut": (
        GOOD + "    reserved: [0]\n    mig: [{gpus: [0]}]\n",
        "hosts.gpu01.mig[0].gpus[0]: GPU 0 is reserved; name it once",
    ),
    "reserved GPU that is not there": (
        GOOD + "    reserved: [4]\n",
        ":7 hosts.gpu01.reserved[0]: GPU 4 does not exist; the host has GPUs 0–3",
    ),
    "neighbour that is not there": (
        GOOD + "    neighbours: [[0, 7]]\n",
        "hosts.gpu01.neighbours[0][1]: GPU 7 does not exist",
    ),
    "hosts of a host's wish": (
        GOOD + '    wishes: [{model: "qwen3:8b", hosts: [gpu01]}]\n',
        "this wish belongs to its host already",
    ),
    "misspelt key": (wish('model: "qwen3:8b", replica: 2'), "did you mean 'replicas'?"),
    "own GPU without its memory": (
        GOOD + "catalogue: {gpus: [{name: Mine}]}\n",
        ":7 catalogue.gpus[0].vram_mib: is missing; add it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_wishes_are_explained(case: str, tmp_path: Path) -> None:
    text, words = CASES[case]
    path = tmp_path / "prod.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_fleet(path)
    assert words in str(caught.value)


def test_the_good_example_is_good(tmp_path: Path) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_fleet(path).wishes[0].title == "chat"


def test_a_wish_without_a_name_is_named_after_its_model(tmp_path: Path) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(wish('model: "hub/Qwen3:0.6b"').replace("hub/Qwen3", "qwen3"), encoding="utf-8")
    assert load_fleet(path).wishes[0].title == "qwen3-0-6b"


def test_a_refused_plan_ends_a_deploy_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD + '    slices: [{name: x, gpus: [2], models: ["llama3:70b"]}]\n'
    (tmp_path / "prod.yml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        load(str(tmp_path / "prod.py"))
    assert stopped.value.code == 3
    said = capsys.readouterr().err
    assert "hosts.gpu01.slices[0]: its models need " in said and "Nothing was touched." in said
