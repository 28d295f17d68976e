"""Asking a fleet: its inventory is read as a deploy reads it, machines that are away do not hold up others.

In a process of its own each: pyinfra changes the standard library for it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = "connection: local, gpus: [{model: RTX 3090}], slices: [{name: chat, gpus: [0], models: ['qwen3:8b']}]"
START = """import json, sys
from pathlib import Path
from ollama_fleet.host.connected import connected
from ollama_fleet.problems import InputError
inventory = Path(sys.argv[1])
"""


def inventory(folder: Path, *machines: str, more: str = "") -> Path:
    """An inventory of these machines (`name: {…}`), with the file by which pyinfra reads it."""
    lines = "\n".join(f"  {machine}" for machine in machines)
    ollama = "ollama: {version: 0.32.15, sha256: {amd64: " + "a" * 64 + "}}"
    described = folder / "few.yml"
    described.write_text(f"version: 1\n{ollama}\nhosts:\n{lines}\n{more}")
    script = "from ollama_fleet.inventory import load\nhosts = load(__file__)\n"
    (folder / "few.py").write_text(script)
    return described


def said(path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A program that asks the fleet `inventory`."""
    command = [sys.executable, "-c", START + program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def found(path: Path, program: str) -> Any:
    done = said(path, program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_machine_is_asked_and_its_plan_has_the_release_that_a_deploy_would_install(
    tmp_path: Path,
) -> None:
    program = """with connected(inventory) as fleet:
    answers = fleet.ask({"gpu01": {"a": "echo one; false", "b": "cat; echo $((1 + 1))"}})["gpu01"]
    plan = fleet.machines["gpu01"].plan
    print(json.dumps([{k: [a.text, a.code] for k, a in answers.items()}, plan.ollama.version]))"""
    asked = found(inventory(tmp_path, f"gpu01: {{{HERE}}}"), program)
    assert asked == [{"a": ["one", 1], "b": ["2", 0]}, "0.32.15"]


def test_a_machine_that_is_away_says_why_and_the_others_answer(tmp_path: Path) -> None:
    away = "gpu02: {address: 127.0.0.1, ssh: {port: 1}, gpus: [{model: RTX 3090}], slices: []}"
    program = """with connected(inventory) as fleet:
    answers = fleet.ask({name: {"a": "echo here"} for name in fleet.machines})
    both = [answers["gpu01"]["a"].text, answers["gpu02"]]
    print(json.dumps([*both, fleet.unreached]))"""
    here, why, unreached = found(inventory(tmp_path, f"gpu01: {{{HERE}}}", away), program)
    assert here == "here"
    assert why.startswith("cannot be reached: Could not connect")
    assert "does sshd run there" in why  # with what to do
    assert unreached == {"gpu02": why}


def test_who_gives_no_answer_in_time_says_so_and_can_be_asked_again(tmp_path: Path) -> None:
    program = """with connected(inventory) as fleet:
    first = fleet.ask({"gpu01": {"a": "sleep 5"}}, timeout_s=0.3)["gpu01"]
    print(json.dumps([first, fleet.ask({"gpu01": {"a": "echo back"}})["gpu01"]["a"].text]))"""
    first, second = found(inventory(tmp_path, f"gpu01: {{{HERE}}}"), program)
    assert first.startswith("no answer within 0.3 s")
    assert second == "back"


def test_gateways_and_mirrors_are_machines_as_well(tmp_path: Path) -> None:
    own = "depot: {url: 'http://10.0.0.5:8480', address: 127.0.0.1, ssh: {port: 1}}"
    more = f"gateway: {{}}\ngateways: {{gw: {{host: gpu01}}}}\nmirrors:\n  {own}\n"
    program = """with connected(inventory, ["gpu01"]) as fleet: pass
from ollama_fleet.host.machines import machines_of, read_inventory
parts = {m.name: [bool(m.plan), bool(m.gateway), bool(m.mirror), m.local, dict(m.reach)]
    for m, _ in machines_of(read_inventory(inventory))}
print(json.dumps([sorted(fleet.machines), parts]))"""
    limited, parts = found(inventory(tmp_path, f"gpu01: {{{HERE}}}", more=more), program)
    assert limited == ["gpu01"]
    assert parts["gpu01"] == [True, True, False, True, {}]
    assert parts["depot"][:4] == [False, False, True, False]
    assert parts["depot"][4] == {"ssh_hostname": "127.0.0.1", "ssh_port": 1}


@pytest.mark.parametrize(
    ("machine", "limit", "words"),
    [
        ("gpu01: {address: 10.0.0.1, slises: []}", [], "slises"),
        (f"gpu01: {{{HERE}}}", ["gpu1"], "--host gpu1: no such machine; nearest: gpu01"),
    ],
)
def test_a_wrong_inventory_or_name_is_refused_before_anything_is_asked(
    tmp_path: Path, machine: str, limit: list[str], words: str
) -> None:
    program = f"""try:
    with connected(inventory, {limit}) as fleet: raise RuntimeError("connected")
except InputError as error:
    sys.exit(str(error))"""
    done = said(inventory(tmp_path, machine), program)
    assert words in done.stderr
    assert done.returncode == (1 if limit else 2)  # what a deploy would say ends the program
    assert "connected" not in done.stderr


def test_an_inventory_without_its_python_file_says_what_it_holds(tmp_path: Path) -> None:
    path = inventory(tmp_path, f"gpu01: {{{HERE}}}")
    (tmp_path / "few.py").unlink()
    program = """try:
    with connected(inventory): pass
except InputError as error:
    sys.exit(str(error))"""
    assert "hosts = load(__file__)" in said(path, program).stderr


def test_an_inventory_in_plain_python_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(
        "slices = [{'name': 'chat', 'gpus': [0], 'models': ['qwen3:8b']}]\n"
        "release = {'ollama_version': '0.32.15', 'ollama_sha256': {'amd64': 'a' * 64}}\n"
        "hosts = [('@local', {'gpus': [{'model': 'RTX 3090'}], 'slices': slices, **release})]\n"
    )
    program = """with connected(inventory) as fleet:
    ((name, machine),) = fleet.machines.items()
    print(json.dumps([name, machine.roles, fleet.ask({name: {"a": "echo here"}})[name]["a"].text]))"""
    assert found(tmp_path / "few.py", program) == ["@local", ["host"], "here"]
