"""`fleet plan`: what an inventory becomes, for people, programs and as files."""

import json
from pathlib import Path

import pytest

from tests.unit.fleet_cli import fleet, fleet_json

TWO_HOSTS = """
version: 1
ollama: {version: 0.32.15, sha256: {amd64: "%s"}}
hosts:
  gpu01:
    gpus: [{model: RTX 3090, count: 4}]
    reserved: [3]
    slices:
      - {name: chat, gpus: [0], models: ["qwen3:8b", "nomic-embed-text"], context: 8192}
      - {name: big, gpus: [1, 2], models: ["llama3:70b"], context: 8192}
  gpu02:
    gpus: [{model: RTX 3060}]
    wishes: [{model: "qwen3:8b"}]
""" % ("ab" * 32)
TOO_BIG = """
version: 1
hosts:
  gpu01:
    gpus: [{model: RTX 3060}]
    slices: [{name: big, gpus: [0], models: ["qwen3:32b"]}]
"""
UUID = "GPU-12345678-1111-2222-3333-444444444444"
SUMS_MISSING = """
version: 1
ollama: {version: 0.32.15, sha256_file: nowhere.txt}
hosts: {a: {gpus: [{model: RTX 3090}], slices: [{name: chat, gpus: [0], models: ["qwen3:8b"]}]}}
"""


@pytest.fixture
def two_hosts(tmp_path: Path) -> Path:
    return written(tmp_path, TWO_HOSTS)


def written(folder: Path, text: str) -> Path:
    path = folder / "fleet.yml"
    path.write_text(text)
    return path


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_gpu_says_what_takes_its_memory(two_hosts: Path) -> None:
    told = fleet_json("plan", two_hosts)
    gpus = told["hosts"]["gpu01"]["gpus"]
    assert [gpu["slice"] for gpu in gpus] == ["chat", "big", "big", None]
    assert [gpu["reserved"] for gpu in gpus] == [False, False, False, True]
    for gpu in gpus[:3]:
        parts = sum(gpu["components"].values())
        assert parts + gpu["free_mib"] == pytest.approx(gpu["usable_mib"], abs=1)
        assert gpu["components"]["margin"] == gpu["margin_mib"] and gpu["fits"]
        assert all(term["why"] for model in gpu["models"] for term in model["terms"])
    assert told["refused"] is False and told["refusals"] == []
    assert told["hosts"]["gpu01"]["needs"]["disk_mib"] > 40_000


def test_slices_have_their_ports_units_and_settings(two_hosts: Path) -> None:
    chat, _ = fleet_json("plan", two_hosts)["hosts"]["gpu01"]["slices"]
    assert (chat["port"], chat["unit"]) == (11434, "ollama-chat.service")
    assert chat["environment"]["OLLAMA_CONTEXT_LENGTH"] == "8192"
    (wished,) = fleet_json("plan", two_hosts)["hosts"]["gpu02"]["slices"]
    assert wished["wished"] and wished["models"] == ["qwen3:8b"]


def test_people_see_bars_sums_and_slices(two_hosts: Path) -> None:
    text = fleet("plan", two_hosts).stdout
    assert "GPU 0  RTX 3090  chat :11434" in text
    assert "qwen3:8b: weights 4,644, KV cache 1,152" in text
    assert "reserved by the inventory" in text
    assert "█ weights" in text and "· free" in text
    assert "the host needs at least" in text


def test_why_shows_the_arithmetic_of_every_term(two_hosts: Path) -> None:
    text = fleet("plan", two_hosts, "--why").stdout
    assert "36 layers × 8 KV heads" in text and "what llama-server leaves free" in text


def test_one_host_can_be_looked_at_by_name_or_pattern(two_hosts: Path) -> None:
    assert list(fleet_json("plan", two_hosts, "--host", "gpu02")["hosts"]) == ["gpu02"]
    assert list(fleet_json("plan", two_hosts, "--host", "gpu*")["hosts"]) == ["gpu01", "gpu02"]
    assert "gpu02" in fleet("plan", two_hosts, "--host", "gpu03", code=2).stderr


def test_what_does_not_fit_is_refused_with_the_sum_and_what_would(tmp_path: Path) -> None:
    path = written(tmp_path, TOO_BIG)
    done = fleet("plan", path, "--render", tmp_path / "out", code=3)
    assert "refused: hosts.gpu01.slices[0]" in done.stderr
    assert "of 12029 MiB" in done.stderr and "would fit:" in done.stderr
    assert "too much" in done.stdout
    assert not (tmp_path / "out").exists()
    (refusal,) = fleet_json("plan", path, code=3)["refusals"]
    assert refusal["arithmetic"] and refusal["would_fit"]


def test_rendered_files_are_those_of_a_deploy_with_marked_stand_ins(two_hosts: Path) -> None:
    out = two_hosts.parent / "out"
    fleet("plan", two_hosts, "--render", out)
    files = files_below(out)
    unit = files["gpu01/etc/systemd/system/ollama-big.service"]
    assert "CUDA_VISIBLE_DEVICES=GPU-1-unknown,GPU-2-unknown" in unit
    assert "ExecStart=/opt/ollama/0.32.15/bin/ollama serve" in unit and "ab" * 32 in unit
    assert "GPU-<index>-unknown" in files["gpu01/STAND-INS.txt"]
    assert "gpu02/etc/systemd/system/ollama-qwen3-8b.service" in files
    owned = files["gpu01/var/lib/ollama/manifest"]
    assert "/etc/systemd/system/ollama-big.service" in owned
    fleet("plan", two_hosts, "--render", out)
    assert files_below(out) == files


def test_slices_by_uuid_and_address_are_rendered_as_written(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"version: 1\nhosts: {{a: {{slices: [{{name: x, gpus: [{UUID}]}}, "
        "{name: y, gpus: ['0000:17:00.0']}]}}\n",
    )
    fleet("plan", path, "--render", tmp_path / "out")
    files = files_below(tmp_path / "out/a/etc/systemd/system")
    assert f"CUDA_VISIBLE_DEVICES={UUID}" in files["ollama-x.service"]
    assert "CUDA_VISIBLE_DEVICES=GPU-1-unknown" in files["ollama-y.service"]


def test_a_missing_list_of_checksums_is_a_stand_in_in_rendered_files(tmp_path: Path) -> None:
    path = written(tmp_path, SUMS_MISSING)
    fleet("plan", path, "--render", tmp_path / "out")
    note = (tmp_path / "out/a/STAND-INS.txt").read_text()
    assert "nowhere.txt" in note and "the checksum of the release is a stand-in" in note


def test_pictures_are_written(two_hosts: Path) -> None:
    svg, html = two_hosts.with_suffix(".svg"), two_hosts.with_suffix(".html")
    fleet("plan", two_hosts, "--svg", svg, "--html", html)
    assert svg.read_text().startswith("<svg") and "Plan of fleet.yml" in html.read_text()


def test_a_picture_that_cannot_be_written_is_bad_input(two_hosts: Path) -> None:
    assert "No such file" in fleet("plan", two_hosts, "--svg", "no/such/dir/x.svg", code=2).stderr


def test_an_earlier_plan_keeps_its_slices_in_place(tmp_path: Path) -> None:
    wishes = "version: 1\nhosts: {a: {gpus: [{model: RTX 3090, count: 3}], wishes: [%s]}}\n"
    one, two = '{model: "qwen3:8b"}', '{model: "qwen3:14b"}'
    before = tmp_path / "before.json"
    before.write_text(fleet("plan", written(tmp_path, wishes % one), "--json").stdout)
    (was,) = json.loads(before.read_text())["hosts"]["a"]["slices"]
    path = written(tmp_path, wishes % f"{two}, {one}")
    told = fleet_json("plan", path, "--previous", before)
    assert was in told["hosts"]["a"]["slices"] and told["moved"] == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"placements": [1]}', "{" * 5000])
@pytest.mark.parametrize("option", ["--previous", "--hardware"])
def test_a_file_of_something_else_is_bad_input(option: str, content: str, two_hosts: Path) -> None:
    path = two_hosts.with_suffix(".json")
    path.write_text(content)
    assert path.name in fleet("plan", two_hosts, option, path, code=2).stderr


def test_hardware_of_a_host_that_is_not_in_the_inventory_is_bad_input(two_hosts: Path) -> None:
    path = two_hosts.with_suffix(".json")
    path.write_text(json.dumps({"name": "elsewhere", "hardware": {"gpus": [], "pci_gpus": []}}))
    said = fleet("plan", two_hosts, "--hardware", path, code=2).stderr
    assert "elsewhere" in said and "gpu01, gpu02" in said
