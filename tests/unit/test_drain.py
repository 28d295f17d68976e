"""`fleet drain`: who is meant, what is on the host, and what a verification says of it."""

import subprocess
from dataclasses import replace
from pathlib import Path

from ollama_fleet.checks.drained import CHECK
from ollama_fleet.checks.model import Subject
from ollama_fleet.cli.drained import order_of
from ollama_fleet.draining import DRAINED_DIR
from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.questions import Answer, question_script, read_answers
from ollama_fleet.rollout.marks import (
    MARKS,
    Mark,
    mark_script,
    marks_question,
    read_marks,
    unmark_script,
)
from tests.unit.examples import hardware
from tests.unit.fleet_cli import fleet
from tests.unit.test_rollout import ALONE, HEAD, HOSTS

MARK = Mark("2026-11-28 12:00:00 UTC", "ann@desk", 'the fan\'s loud: 100 %, "really"')


def run(folder: Path, script: str) -> str:
    """On this machine, with the folder of marks elsewhere."""
    text = script.replace(DRAINED_DIR, str(folder / "drained"))
    done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=True)
    return done.stdout


def marked(folder: Path) -> dict[str, Mark]:
    said = run(folder, question_script(marks_question()))
    return read_marks(read_answers(said.splitlines()))


def test_a_mark_says_who_when_and_why_and_goes_again(tmp_path: Path) -> None:
    assert marked(tmp_path) == {}
    run(tmp_path, mark_script(["chat", "code"], MARK))
    assert marked(tmp_path) == {"chat": MARK, "code": MARK}
    run(tmp_path, unmark_script(["chat"]))
    assert list(marked(tmp_path)) == ["code"]
    run(tmp_path, unmark_script(["code"]))
    assert not (tmp_path / "drained").exists()


def test_a_drained_slice_is_a_warning_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "fleet.yml").write_text(HEAD + HOSTS)
    plan = plan_fleet(load_fleet(tmp_path / "fleet.yml")).hosts["gpu02"]
    text = f"chat:since {MARK.since}\nchat:by {MARK.by}\nchat:reason {MARK.reason}"
    subject = Subject(plan, hardware(2), (), {MARKS: Answer(text)})
    (result,) = CHECK.judge(subject)
    assert result.status == "warning"
    assert result.found == f"gpu02.chat is drained since {MARK.since} by ann@desk: {MARK.reason}"
    assert CHECK.ask(replace(plan, hop=None)) == {}


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yml"
    inventory.write_text(HEAD + HOSTS + ALONE)
    (tmp_path / "fleet.py").write_text("")
    for verb in ("drain", "undrain"):
        for name, near in (("gpu5", "gpu05"), ("gpu05.cod", "gpu05.code")):
            said = fleet(verb, inventory, name, code=2)
            assert f"no host or slice is named '{name}'" in said.stderr and near in said.stderr


def test_a_fleet_without_a_gateway_has_nobody_who_would_notice(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yml"
    inventory.write_text("version: 1\n" + HOSTS)
    said = fleet("drain", inventory, "gpu01", code=2)
    assert "has no gateway, so nobody would notice" in said.stderr


def test_a_gateway_is_no_host_to_drain(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yml"
    inventory.write_text(HEAD + HOSTS)
    said = fleet("drain", inventory, "gw1", code=2).stderr
    assert "'gw1' is a gateway" in said and "ollama-address" in said


def test_whoever_drains_hears_which_models_are_away_then(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yml"
    inventory.write_text(HEAD + HOSTS + ALONE)
    inventory.with_suffix(".py").write_text("")
    assert order_of(inventory, "gpu05", "drain").away == ("qwen2.5-coder:7b",)
    assert order_of(inventory, "gpu05.code", "drain").away == ("qwen2.5-coder:7b",)
    assert order_of(inventory, "gpu05.chat", "drain").away == ()
    assert order_of(inventory, None, "look").away == ()
