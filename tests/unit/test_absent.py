"""A host with `state: absent`: it needs nothing, offers nothing, and says what it means in words."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ollama_fleet.cli.bundle import _scope
from ollama_fleet.host import session
from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import FleetPlan, plan_fleet
from ollama_fleet.planner.plan import HostPlan, Removal
from ollama_fleet.problems import InputError
from ollama_fleet.yamlfile import YamlFile
from tests.unit.fleet_cli import fleet, fleet_json

ONE = [{"model": "RTX 3090"}]
WISH = {"model": "qwen3:8b"}
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"]}


def planned(hosts: dict[str, Any], **more: Any) -> FleetPlan:
    return plan_fleet(validate(YamlFile("prod.yml", {"version": 1, "hosts": hosts, **more})))


def test_an_absent_host_needs_no_slices_and_no_word_about_its_gpus() -> None:
    plan = planned({"a": {"state": "absent"}}).hosts["a"]
    assert plan.removal == Removal(models=False) and plan.slices == () and plan.mig == ()


def test_what_else_is_said_of_it_may_stay_and_is_not_held_against_it() -> None:
    too_big = {**CHAT, "models": ["llama3:70b"]}
    host = {"gpus": ONE, "slices": [too_big], "wishes": [WISH], "remove": {"models": True}}
    plan = planned(
        {"a": {**host, "state": "absent"}}, models={"extra": ["qwen3:0.6b"], "path": "/data/m"}
    )
    assert plan.refusals == ()
    assert plan.hosts["a"].models == () and plan.hosts["a"].store.path == "/data/m"
    assert plan.hosts["a"].removal == Removal(models=True)


def test_wishes_go_elsewhere_or_are_refused_with_the_reason() -> None:
    hosts = {"a": {"gpus": ONE, "state": "absent"}, "b": {"gpus": ONE}}
    assert [item.models for item in planned(hosts, wishes=[WISH]).hosts["b"].slices] == [
        ("qwen3:8b",)
    ]
    refusals = planned(hosts, wishes=[{**WISH, "hosts": ["a"]}]).refusals
    assert "it may only be on a, with `state: absent`" in refusals[0].what


def test_what_goes_is_said_of_absent_hosts_only() -> None:
    with pytest.raises(InputError) as error:
        planned({"a": {"gpus": ONE, "remove": {"models": True}}})
    assert "hosts.a.remove: says what goes with `state: absent`" in str(error.value)


FILE = """
version: 1
ollama: {version: 0.32.15, sha256_file: nowhere.txt}
hosts:
  gpu01: {gpus: [{model: RTX 3090}], state: absent, slices: [{name: chat, gpus: [0], models: ["qwen3:8b"]}]}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "prod.yml"
    path.write_text(FILE)
    return path


def test_it_is_shown_without_slices_and_needs_no_release(inventory: Path, tmp_path: Path) -> None:
    assert (
        "absent: all that a deploy put there goes, its models stay"
        in fleet("plan", inventory).stdout
    )
    told = fleet_json("plan", inventory, "--render", tmp_path / "out")
    assert told["hosts"]["gpu01"]["state"] == "absent" and told["rendered"] == []
    assert fleet_json("check", inventory)["hosts"][0]["slices"] == []


def test_a_bundle_holds_nothing_for_it(inventory: Path) -> None:
    assert _scope(inventory, [], [], ["amd64"]).plans == {}


def host(plan: HostPlan | None = None, **data: Any) -> Any:
    connector = SimpleNamespace(client=None)
    state = SimpleNamespace(current_deploy_filename=None)
    return SimpleNamespace(name="a", data={"plan": plan, **data}, connector=connector, state=state)


def begun(host: Any) -> HostPlan:
    _, _, plan = session.begin(host)
    assert plan
    return plan


def test_one_run_can_say_absent_over_the_inventory_but_not_present() -> None:
    present = planned({"a": {"gpus": ONE}}).hosts["a"]
    assert begun(host(present, state="absent")).removal == Removal()
    assert begun(host(present, state="absent", remove_models=True)).removal == Removal(True)
    absent = planned({"a": {"state": "absent"}}).hosts["a"]
    with pytest.raises(session.BadInventoryError, match="correct it there"):
        session.begin(host(absent, state="present"))
    with pytest.raises(session.BadInventoryError, match="not 'gone'"):
        session.begin(host(present, state="gone"))


def test_an_inventory_in_plain_python_can_say_it() -> None:
    assert begun(host(state="absent", remove={"models": True})).removal == Removal(True)


def test_a_removal_is_never_begun_by_mistake(inventory: Path) -> None:
    assert "add --yes" in fleet("remove", inventory, "gpu01", code=2).stderr
    assert "add --yes" in fleet_json("remove", inventory, "gpu01", code=2)["error"]
    assert "nearest: gpu01" in fleet("remove", inventory, "gpu1", "--yes", code=2).stderr
    said = fleet("remove", inventory, "gpu01", "--yes", code=2).stderr
    assert "prod.py is missing" in said and "hosts = load(__file__)" in said
    missing = inventory.with_name("none.py")
    assert "is no file" in fleet("remove", missing, "gpu01", "--yes", code=2).stderr


def test_pyinfra_is_run_as_a_person_would_and_its_exit_code_counts(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory.with_suffix(".py").write_text("hosts = load(__file__)\n")
    ran: list[list[str]] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, codes.pop(), stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    codes = [-9, 3, 0]
    assert fleet_json("remove", inventory, "gpu01", "--yes", "--models")["changed"] is False
    assert ran[0][3:] == [
        *(str(inventory.with_suffix(".py")), "deploy.py", "--limit", "gpu01"),
        *("--data", "state=absent", "--data", "remove_models=true", "-y", "--json"),
    ]
    assert fleet_json("remove", inventory, "gpu01", "--yes", code=3)["exit_code"] == 3
    fleet("remove", inventory, "gpu01", "--yes", code=1)


def test_a_gateway_is_given_up_in_the_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "prod.yml"
    inventory.write_text(
        "version: 1\ngateway: {}\ngateways: {gw1: {address: 10.0.0.21}}\n"
        "hosts: {gpu01: {slices: [{name: chat, gpus: [0], models: ['qwen3:8b']}]}}\n"
    )
    said = fleet("remove", inventory, "gw1", "--yes", code=2).stderr
    assert "'gw1' stands under `gateways:`; say `state: absent` there" in said
