"""The command as a whole: help, documentation, start-up, and errors that programs can read."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_fleet.cli.app import VERBS
from tests.unit.fleet_cli import fleet, fleet_json

DOCS = Path(__file__).parents[2] / "docs"
HEAVY = ("pydantic", "pyinfra", "paramiko", "yaml", "rich.table", "ollama_fleet.spec.fleet")


@pytest.mark.parametrize("page", ["cli", "recommend"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    """Run `fleet docs PAGE > docs/PAGE.md` when this fails."""
    assert (DOCS / f"{page}.md").read_text(encoding="utf-8") == fleet("docs", page).stdout


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_documented_and_has_help(name: str) -> None:
    assert f"## fleet {name}\n" in (DOCS / "cli.md").read_text(encoding="utf-8")
    assert (inspect.getdoc(VERBS[name]) or "").split(".")[0] in " ".join(
        fleet(*name.split(), "--help").stdout.replace("│", " ").split()
    )


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_file_of_its_own_or_its_group_s_and_json(name: str) -> None:
    assert inspect.getmodule(VERBS[name]).__name__.endswith(f".{name.split()[0].replace('-', '_')}")
    assert "--json" in fleet(*name.split(), "--help").stdout


def test_the_help_says_what_exit_codes_mean() -> None:
    text = " ".join(fleet("--help").stdout.split())
    assert "0 well" in text and "2 bad input" in text and "3 refused by the arithmetic" in text


def test_nothing_heavy_is_imported_before_a_verb_runs() -> None:
    code = f"import sys, ollama_fleet.cli.app; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_can_be_read_by_programs() -> None:
    said = fleet_json("fit", "qwen3:9b", code=2)
    assert said["nearest"][0] == "qwen3:8b" and said["exit_code"] == 2
    assert "qwen3:9b" in said["error"]


def test_an_error_for_people_is_on_stderr_alone() -> None:
    done = fleet("fit", "qwen3:9b", code=2)
    assert done.stdout == "" and "nearest: qwen3:8b" in done.stderr


def test_the_schema_is_json_with_and_without_asking() -> None:
    assert fleet_json("schema") == fleet_json("schema") and fleet_json("schema")["properties"]
    assert fleet("schema", "--markdown").stdout.startswith("# The inventory file")
    fleet("schema", "--markdown", "--json", code=2)


def test_an_inventory_is_checked_for_people_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "one.yml"
    path.write_text("version: 1\nhosts: {a: {slices: [{name: chat, gpus: [0]}]}}\n")
    assert "ollama-chat.service  port 11434" in fleet("check", path).stdout
    (host,) = fleet_json("check", path)["hosts"]
    assert host["slices"][0]["unit"] == "ollama-chat.service"


def test_an_inventory_that_does_not_fit_is_refused_by_check(tmp_path: Path) -> None:
    path = tmp_path / "one.yml"
    path.write_text(
        "version: 1\nhosts:\n  a:\n    gpus: [{model: RTX 3060}]\n"
        "    slices: [{name: big, gpus: [0], models: ['llama3:70b']}]\n"
    )
    assert "hosts.a.slices[0]" in fleet("check", path, code=3).stderr


def test_a_missing_inventory_is_bad_input() -> None:
    for verb in ("check", "plan"):
        assert "cannot be read" in fleet(verb, "no/such.yml", code=2).stderr
        assert "cannot be read" in fleet_json(verb, "no/such.yml", code=2)["error"]
