"""`fleet hosts`: inventories from the lists of Terraform, MAAS and clouds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ollama_fleet.host_lists.formats import COMMANDS
from tests.unit.fleet_cli import fleet, fleet_json

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "inventory" / "examples" / "hosts"
BIN = Path(sys.executable).parent
BASE = str(EXAMPLES / "base.yml")

# Format to hosts with their addresses, and who is left out, with a word of why.
WANTED = {
    "terraform": ({"gpu01": "10.20.0.11", "gpu02": "10.20.0.12"}, {}),
    "maas": ({"node-a": "10.30.0.21"}, {"node-b": "Ready", "storage-1": "no fleet-kind"}),
    "aws": ({"llm-a": "172.31.5.10"}, {"i-0ee55ff66aa77bb88": "m7i.large", "llm-b": "stopped"}),
    "gcloud": ({"llm-1": "10.164.0.9"}, {"web-1": "e2-medium"}),
    "azure": ({"llm-1": "10.0.0.4"}, {"llm-2": "VM deallocated"}),
    "json": ({"gpu01": "10.20.0.11"}, {}),
}


def listed(form: str) -> str:
    return str(EXAMPLES / f"{form}.json")


@pytest.mark.parametrize("form", COMMANDS)
def test_machines_of_each_list_become_hosts_of_their_kind(form: str) -> None:
    hosts, left_out = WANTED[form]
    made = fleet_json("hosts", BASE, listed(form), "--from", form)
    assert {name: host["address"] for name, host in made["inventory"]["hosts"].items()} == hosts
    assert {line.partition(":")[0] for line in made["left_out"]} == set(left_out)
    for name, word in left_out.items():
        assert any(line.startswith(f"{name}: ") and word in line for line in made["left_out"])


@pytest.mark.parametrize("form", COMMANDS)
def test_the_inventory_of_each_list_can_be_planned(form: str, tmp_path: Path) -> None:
    prod = tmp_path / "prod.yml"
    fleet("hosts", BASE, listed(form), "--from", form, "--into", str(prod))
    plan = fleet_json("plan", str(prod))
    assert not plan["refused"] and set(plan["hosts"]) == set(WANTED[form][0])


def test_the_list_can_come_through_a_pipe() -> None:
    text = Path(listed("terraform")).read_text("utf-8")
    done = fleet("hosts", BASE, "-", "--from", "terraform", stdin=text)
    assert list(yaml.safe_load(done.stdout)["hosts"]) == ["gpu01", "gpu02"]


def test_the_same_list_gives_the_same_file(tmp_path: Path) -> None:
    prod = tmp_path / "prod.yml"
    call = ("hosts", BASE, listed("terraform"), "--from", "terraform", "--into", str(prod))
    fleet(*call)
    first = prod.read_bytes()
    fleet(*call)
    assert prod.read_bytes() == first


def test_a_host_that_is_listed_no_more_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    prod, fewer = tmp_path / "prod.yml", tmp_path / "fewer.json"
    fleet("hosts", BASE, listed("terraform"), "--from", "terraform", "--into", str(prod))
    before = prod.read_bytes()
    fewer.write_text('[{"name": "gpu01", "address": "10.20.0.11", "kind": "chat"}]')
    call = ("hosts", BASE, str(fewer), "--from", "json", "--into", str(prod))
    done = fleet(*call, code=2)
    assert "gpu02" in done.stderr and "--drop" in done.stderr and prod.read_bytes() == before
    assert "gone: gpu02" in fleet(*call, "--drop").stderr
    assert list(yaml.safe_load(prod.read_text("utf-8"))["hosts"]) == ["gpu01"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [{"name": "gpu01", "address": "10.0.0.1", "kind": "chatt"}],
            ("gpu01", "'chatt'", "chat, a100"),
        ),
        ([{"name": "g", "address": "10.0.0.1", "kind": "chat"}] * 2, ("g", "twice")),
        ([{"name": "g", "address": "", "kind": "chat"}], ("g", "no address")),
        ([{"name": "bad name!", "address": "10.0.0.1", "kind": "chat"}], ("bad name!",)),
        ({"machines": []}, ("is not what",)),
    ],
)
def test_a_list_that_cannot_be_used_says_where_and_why(
    rows: object, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(rows))
    said = fleet("hosts", BASE, str(path), "--from", "json", code=2).stderr
    assert all(word in said for word in words) and "Traceback" not in said


def test_terraform_without_our_output_says_which_it_has(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text('{"vpc_id": {"value": "x"}}')
    said = fleet("hosts", BASE, str(path), "--from", "terraform", code=2).stderr
    assert "`fleet_hosts`" in said and "vpc_id" in said


def test_an_unknown_format_and_text_that_is_no_json_are_told() -> None:
    assert "terraform, maas" in fleet("hosts", BASE, BASE, "--from", "cobbler", code=2).stderr
    assert "is no JSON" in fleet("hosts", BASE, BASE, "--from", "aws", code=2).stderr


def test_a_base_without_kinds_is_told(tmp_path: Path) -> None:
    base = tmp_path / "base.yml"
    base.write_text("version: 1\n")
    said = fleet("hosts", str(base), listed("json"), "--from", "json", code=2).stderr
    assert "kinds" in said and "is missing" in said


@pytest.mark.parametrize("kind", ["chat", "\x1b[2J", None])
def test_names_in_a_list_reach_no_terminal_as_they_are(kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    rows = [{"name": "\x1b[2Jevil", "address": "10.0.0.1", "kind": kind}]
    path.write_text(json.dumps([*rows, {"name": "a", "address": "10.0.0.2", "kind": "chat"}]))
    said = fleet("hosts", BASE, str(path), "--from", "json", code=2 if kind else 0).stderr
    assert "evil" in said and "\x1b" not in said


def test_a_list_that_is_nested_without_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    assert "is no JSON" in fleet("hosts", BASE, str(path), "--from", "json", code=2).stderr


def test_two_that_write_the_same_inventory_leave_a_whole_one(tmp_path: Path) -> None:
    into = tmp_path / "prod.yml"
    command = [BIN / "fleet", "hosts", BASE, listed("json"), "--from", "json", "--into", into]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert yaml.safe_load(into.read_text())["hosts"]
    assert [path.name for path in tmp_path.iterdir()] == ["prod.yml"]
