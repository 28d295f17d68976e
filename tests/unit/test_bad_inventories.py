"""Every wrong inventory says what is wrong, where, and what to do, before any host is touched."""

from pathlib import Path

import pytest

from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError

GOOD = """\
version: 1
hosts:
  gpu01:
    gpus: [{model: RTX 3090, count: 2}]
    slices:
      - name: chat
        gpus: [0]
        port: 11434
"""

CASES = {
    "unknown key": (
        GOOD + "        prot: 1\n",
        ":9 hosts.gpu01.slices[0].prot: unknown key; did you mean 'port'?",
    ),
    "unknown key at the top": (GOOD + "sssh: {}\n", ":9 sssh: unknown key; did you mean 'ssh'?"),
    "wrong type": (
        GOOD.replace("11434", "many"),
        ":8 hosts.gpu01.slices[0].port: should be a valid integer",
    ),
    "truth value as a GPU": (GOOD.replace("[0]", "[yes]"), "hosts.gpu01.slices[0].gpus[0]: "),
    "missing key": (
        GOOD.replace("- name: chat\n        ", "- "),
        ":6 hosts.gpu01.slices[0].name: is missing; add it",
    ),
    "duplicate port": (
        GOOD + "      - {name: code, gpus: [1], port: 11434}\n",
        ":9 hosts.gpu01.slices[1].port: 11434 is used by slice 'chat' too; choose another",
    ),
    "port of the loader": (GOOD.replace("11434", "11433"), "used by the model loader too"),
    "duplicate slice name": (
        GOOD + "      - {name: chat, gpus: [1]}\n",
        ":9 hosts.gpu01.slices[1].name: 'chat' is the name of slices[0] too; rename one",
    ),
    "GPU in two slices": (
        GOOD + "      - {name: code, gpus: [0]}\n",
        ":9 hosts.gpu01.slices[1].gpus: GPU 0 is in slice 'chat' too",
    ),
    "GPU twice in a slice": (GOOD.replace("[0]", "[0, 0]"), "names a GPU twice"),
    "GPU that the host does not have": (
        GOOD.replace("[0]", "[5]"),
        ":7 hosts.gpu01.slices[0].gpus[0]: GPU 5 does not exist; the host has GPUs 0–1",
    ),
    "negative GPU": (GOOD.replace("[0]", "[-1]"), "GPU -1 does not exist"),
    "GPU by a wrong word": (GOOD.replace("[0]", "[first]"), "'first' is no index, UUID or PCI"),
    "reserved port": (
        GOOD.replace("11434", "50000"),
        ":8 hosts.gpu01.slices[0].port: 50000 is in the range from 49152 up",
    ),
    "preload of another model": (
        GOOD + "        models: [qwen3:8b]\n        preload: [llama3.1:8b]\n",
        "slices[0].preload[0]: 'llama3.1:8b' is no model of it; it serves qwen3:8b",
    ),
    "preload twice": (
        GOOD + "        models: [qwen3:8b]\n        preload: [qwen3:8b, qwen3:8b]\n",
        "slices[0].preload[1]: qwen3:8b is named twice; name it once",
    ),
    "preload that is not kept": (
        GOOD + "        models: [qwen3:8b]\n        preload: [qwen3:8b]\n        keep_alive: 0s\n",
        "slices[0].preload: keep_alive: 0s keeps no model; drop one of the two",
    ),
    "preload of more than it holds": (
        GOOD + "        models: [qwen3:8b, qwen3:0.6b]\n        preload: [qwen3:8b, qwen3:0.6b]\n"
        "        env: {OLLAMA_MAX_LOADED_MODELS: 1}\n",
        "slices[0].preload: names 2 models, but OLLAMA_MAX_LOADED_MODELS allows 1; name fewer",
    ),
    "two defaults": (
        GOOD + "        default: true\n      - {name: code, gpus: [1], default: true}\n",
        ":10 hosts.gpu01.slices[1].default: hosts.gpu01.slices[0] is the default of gpu01 already",
    ),
    "a wish for every host that is the default of one that has one": (
        GOOD + "        default: true\nwishes:\n  - {model: qwen3:0.6b, default: true}\n",
        "wishes[0].default: hosts.gpu01.slices[0] is the default of gpu01 already",
    ),
    "a name that is a warming's": (GOOD.replace("chat", "warm-chat"), "used by the fleet itself"),
    "port for root": (GOOD.replace("11434", "443"), "443 needs root to bind"),
    "name that is no unit": (GOOD.replace("chat", "Chat Bot"), "'Chat Bot' does not have the form"),
    "name that the fleet uses": (GOOD.replace("chat", "loader"), "used by the fleet itself"),
    "variable that the plan sets": (
        GOOD + "        env: {CUDA_VISIBLE_DEVICES: '1'}\n",
        ":9 hosts.gpu01.slices[0].env.CUDA_VISIBLE_DEVICES: cannot be set by hand; use `gpus:`",
    ),
    "secret in a unit": (GOOD + "        env: {HF_TOKEN: abc}\n", "looks like a secret"),
    "password in a proxy": (
        GOOD + "        env: {HTTPS_PROXY: 'http://me:pw@proxy:1'}\n",
        "looks like a secret",
    ),
    "cache without flash attention": (
        GOOD + "        kv_cache: q8_0\n        flash_attention: false\n",
        "q8_0 needs flash attention",
    ),
    "not YAML": ("version: 1\nhosts: {gpu01: [}\n", ":2:17: is not valid YAML"),
    "tab": ("version: 1\nhosts:\n\tgpu01: {}\n", "spaces, never tabs"),
    "key twice": ("version: 1\nversion: 1\nhosts: {a: {}}\n", ":2 version: appears twice"),
    "not a mapping": ("- 1\n", "holds no inventory"),
    "empty": ("", "holds no inventory"),
    "no hosts": ("version: 1\nhosts: {}\n", ":2 hosts: "),
    "future version": (GOOD.replace("version: 1", "version: 2"), ":1 version: should be 1, not 2"),
    "latest": (
        GOOD + "ollama: {version: latest}\n",
        ":9 ollama.version: 'latest' is another release",
    ),
}


def said(text: str, folder: Path) -> str:
    path = folder / "prod.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_fleet(path)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_explained(case: str, tmp_path: Path) -> None:
    text, words = CASES[case]
    assert words in said(text, tmp_path)


def test_the_good_example_is_good(tmp_path: Path) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_fleet(path).hosts["gpu01"].slices[0].port == 11434


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    message = said(GOOD.replace("port", "prot") + "sssh: {}\n", tmp_path)
    assert len(message.splitlines()) == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yml: cannot be read: No such file"):
        load_fleet(tmp_path / "gone.yml")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prod.yml"
    path.write_bytes(b"version: \xff\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        load_fleet(path)


def test_a_document_that_explodes_by_aliases_ends_quickly(tmp_path: Path) -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    assert "unknown key" in said(
        f"a0: &a0 [x]\n{levels}\nversion: 1\nhosts: {{a: {{}}}}\n", tmp_path
    )
