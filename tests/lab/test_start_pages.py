"""Every command of the README and of the start pages, typed as a reader would, on lab hosts."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from lab.lab import Lab
from tests.lab.conftest import MADE, bare
from tests.lab.fleet import ROOT
from tests.lab.pages import Reader, blocks, commands

# This is what runs just now: `.ci/run` calls it, and it ends with these tests.
RUNS_NOW = "make test"
DEMO = "make demo"


@pytest.fixture(scope="module")
def reader(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader with two GPU hosts."""
    hosts = {
        "gpu01": bare(lab, "rd1", "2x-rtx3090"),
        "gpu02": bare(lab, "rd2", "1x-rtx3060"),
    }
    found = Reader(tmp_path_factory.mktemp("clone"), lab, hosts)
    found.prepare()
    return found


def described(page: str, number: int) -> dict[str, Any]:
    """A YAML block of a page."""
    return dict(yaml.safe_load(blocks(page, "yaml")[number]))


def test_the_readme_s_way_to_the_demo(reader: Reader, lab: Lab) -> None:
    first = commands(blocks("README.md", "sh")[0])
    assert first[-2:] == [DEMO, RUNS_NOW]
    assert "exec make test" in (ROOT / ".ci/run").read_text()
    before = {host.name for host in lab.status()}
    MADE.update({"gpu01", "gpu02", "gpu03"} - before)
    for line in first[:-1]:
        said = reader.type(line)
    assert ", 0 failed" in said and '"model":"qwen3:0.6b"' in said


def test_the_readme_s_way_to_your_own_hosts(reader: Reader, tmp_path: Path) -> None:
    """Describe, pin, plan, dry run, deploy; then a gateway, and a key for it."""
    reader.write("of-the-page.yml", described("README.md", 0))
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "{reader.folder}/of-the-page.yml" "$1"\n')
    editor.chmod(0o755)
    for line in commands(blocks("README.md", "sh")[1]):
        said = reader.type(line, EDITOR=str(editor))
    assert ", 0 failed" in said

    inventory = reader.folder / "inventory/prod.yml"
    inventory.write_text(inventory.read_text() + blocks("README.md", "yaml")[1])
    reader.type(".venv/bin/pyinfra inventory/prod.py deploy.py -y")
    (key,) = commands(blocks("README.md", "sh")[2])
    assert "olf_" in reader.type(key)


def test_the_start_with_a_fleet(reader: Reader) -> None:
    page = "docs/start-fleet.md"
    reader.write("inventory/prod.yml", described(page, 0))
    said = [reader.type(line) for block in blocks(page, "sh") for line in commands(block)]
    assert "RTX 3090" in said[1], "the GPUs of the first host"
    assert ", 0 failed" in said[-1]


def of_workflow(job: str) -> list[str]:
    """What both workflows run in a job that touches hosts; it is the same."""
    github = yaml.safe_load((ROOT / "ci/github-actions.yml").read_text())["jobs"][job]["steps"]
    gitlab = yaml.safe_load((ROOT / "ci/gitlab-ci.yml").read_text())[job]["script"]
    found = [step["run"] for step in github if step.get("run", "").startswith("ci/")]
    assert found == gitlab
    return found


def test_what_the_workflows_run_deploys_and_verifies_with_secrets_from_the_environment(
    reader: Reader,
) -> None:
    """After the start with a fleet: the key is in an agent only, and nobody prints it."""
    inventory = reader.folder / "inventory/prod.yml"
    described = yaml.safe_load(inventory.read_text())
    key = Path(described["ssh"].pop("key")).read_text()
    known = Path(described["ssh"].pop("known_hosts")).read_text()
    inventory.write_text(yaml.safe_dump(described, sort_keys=False))
    secrets = {
        "FLEET_SSH_KEY": key,
        "FLEET_KNOWN_HOSTS": known,
        "INVENTORY": "inventory/prod",
        "LIMIT": "gpu01",
    }
    (reader.folder / "home").mkdir()
    for job in ("provision", "verify"):
        (line,) = of_workflow(job)
        said = reader.type(line, HOME=str(reader.folder / "home"), **secrets)
        assert key.splitlines()[1] not in said, "the private key"
        reports = {path.name for path in (reader.folder / "reports").iterdir()}
        assert {"junit.xml", "ctrf.json", "report.html"} <= reports
        suite = ElementTree.parse(reader.folder / "reports/junit.xml").getroot()
        cases = suite.findall(".//testcase")
        assert len(cases) > 20 and not suite.findall(".//failure"), job
        assert key.splitlines()[1] not in (reader.folder / "reports/report.html").read_text()
    assert not list((reader.folder / "home/.ssh").glob("id*"))


def test_the_chinese_readme_says_the_same_commands(reader: Reader) -> None:
    known = {line for block in blocks("README.md", "sh") for line in commands(block)}
    (plan,) = {line for block in blocks("README.zh.md", "sh") for line in commands(block)} - known
    assert "of 24,159 MiB" in reader.type(plan)
    assert blocks("README.zh.md", "yaml")[0] == blocks("README.md", "yaml")[0]
