"""`fleet verify` before it asks anybody, what a machine is asked, and what stays of a run."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.checks import machine as machines
from ollama_fleet.checks.foreseen import Foreseen, foreseen
from ollama_fleet.checks.machine import Machine, first_questions, found, last_questions
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.checks.quick import quick_questions
from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.host import results
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.plan import Removal
from ollama_fleet.questions import Answer
from ollama_fleet.report.closing import print_closing, print_failed
from ollama_fleet.report.files import OF_A_DEPLOY, write_reports
from ollama_fleet.report.kept_runs import KEPT, earlier_runs, folder_of, keep_run
from tests.deploy.converged import mirror_answers
from tests.unit.examples import host_plan
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.test_checks import PLAN, assembled, healthy
from tests.verify.test_fleet import results_of

HOST = Machine(PLAN.host, PLAN)
FAILED = CheckResult("gpu01", "chat", "unit", "failed", "active", "inactive", "deploy again")
WARNING = CheckResult("gpu01", "gpu 0", "xid", "warning", "none", "13\x1b[2J", "look")


def outcome(*hosts: HostOutcome, started: str = "2026-11-28T10:00:00+00:00") -> Outcome:
    return Outcome("inventory/prod.yml", started, 1.5, "full", hosts)


def answers(texts: dict[str, str]) -> dict[str, Answer]:
    return {name: Answer(text) for name, text in texts.items()}


def test_a_quick_verification_generates_nothing_and_waits_for_nobody() -> None:
    quick, full = quick_questions(PLAN), verification_questions(PLAN)
    assert full.keys() - quick.keys() == {
        "wait", "generations", "containers docker", "containers podman",
    }  # fmt: skip
    assert not any("/api/generate' -d" in text or "num_predict" in text for text in quick.values())
    assert "api/generate" in full["start"] and "api/generate" not in quick["start"]


def test_what_was_not_asked_is_not_judged() -> None:
    asked = quick_questions(PLAN)
    said = {name: text for name, text in assembled(healthy()).items() if name in asked}
    seen = found(HOST, "quick", answers({**said, "claim": ""}), {})
    assert not seen.error
    checks = {result.check for result in seen.results}
    assert "inference" not in checks and "speed" not in checks
    assert {"unit", "isolation", "weights on gpu"} <= checks


def test_a_slice_that_has_nothing_in_memory_is_not_blamed_for_it_by_a_quick_look() -> None:
    asked = quick_questions(PLAN)
    empty = {"ps": "".join(f'{{"models": []}}\n#{item.url}/api/ps\n' for item in PLAN.slices)}
    said = {n: t for n, t in assembled({**healthy(), **empty}).items() if n in asked}
    seen = found(HOST, "quick", answers({**said, "claim": ""}), {})
    assert "weights on gpu" not in {result.check for result in seen.results}


def test_a_machine_is_judged_in_all_its_parts() -> None:
    mirror = MirrorPlan(name="depot", host=PLAN.host, url="http://10.0.0.5:8480")
    both = replace(HOST, mirror=mirror, reach=(("ssh_hostname", "10.0.0.9"),))
    said = {**assembled(healthy()), **mirror_answers(), "claim": ""}
    assert first_questions(both, "full").keys() == said.keys()
    assert last_questions(both, "full") == {}
    seen = found(both, "full", answers(said), {})
    assert (seen.roles, seen.address, seen.error) == (("host", "mirror"), "10.0.0.9", "")
    assert {result.subject for result in seen.results} >= {"host", "chat", "mirror depot"}


@pytest.mark.parametrize("said", ["cannot be reached: timed out", {}])
def test_a_machine_without_an_answer_says_why(said: object) -> None:
    seen = found(HOST, "full", said, {})  # type: ignore[arg-type]
    assert seen.failed and seen.results == ()
    assert seen.error == (said or machines.NO_ANSWER)


def test_a_machine_that_is_to_be_absent_is_nothing_to_verify() -> None:
    gone = replace(HOST, plan=replace(PLAN, removal=Removal()))
    assert gone.roles == () and first_questions(gone, "full") == {}


def test_tests_are_named_by_the_plan_alone() -> None:
    names = foreseen(HOST, "full")
    assert Foreseen(PLAN.host, "chat", "isolation") in names
    assert Foreseen(PLAN.host, "gpu 1", "gpu health") in names
    assert len(names) == len(set(names))
    quick = foreseen(HOST, "quick")
    assert {one.check for one in names} - {one.check for one in quick} == {"inference", "speed"}


def test_what_the_example_shows_is_what_was_foreseen_but_for_what_its_gpus_lack() -> None:
    seen = found(HOST, "full", answers({**assembled(healthy()), "claim": ""}), {})
    gpus = sorted({one.subject for one in seen.results if one.subject.startswith("gpu ")})
    numbers = {address: f"gpu {number}" for number, address in enumerate(gpus)}
    there = {(numbers.get(one.subject, one.subject), one.check) for one in seen.results}
    named = {(one.subject, one.check) for one in foreseen(HOST, "full")}
    assert there <= named
    assert {check for _, check in named - there} == {"ecc", "row remapping", "pcie width"}


def test_a_test_of_the_host_has_what_is_wrong_with_its_slices() -> None:
    """Files, ports or processes are well for the host as a whole, or wrong at some slice."""
    wrong = CheckResult(PLAN.host, "code", "drop-ins", "failed", "none", "one", "remove it")
    other = replace(wrong, subject="chat", check="unit")
    seen = HostOutcome(PLAN.host, ("host",), results=(wrong, other))
    assert results_of(seen, Foreseen(PLAN.host, "host", "drop-ins")) == [wrong]
    assert results_of(seen, Foreseen(PLAN.host, "chat", "unit")) == [other]
    assert results_of(seen, Foreseen(PLAN.host, "code", "unit")) == []


def test_a_mistyped_check_or_one_that_quick_leaves_out_is_refused(tmp_path: Path) -> None:
    wrong = fleet("verify", tmp_path / "prod.yml", "--check", "isolatoin", code=2)
    assert "no check is named 'isolatoin'; nearest: isolation" in wrong.stderr
    both = fleet("verify", tmp_path / "prod.yml", "--quick", "--check", "inference", code=2)
    assert "--quick leaves out what takes long" in both.stderr
    known = fleet_json("verify", tmp_path / "prod.yml", "--check", "gpu-cout", code=2)
    assert known["nearest"][0] == "gpu count"


def test_a_file_that_cannot_be_written_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    done = fleet("verify", tmp_path / "prod.yml", "--html", tmp_path, code=2)
    assert f"--html {tmp_path}: no file can be written there" in done.stderr
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/x.html", Path("/proc/none/there/x.html")):
        done = fleet("verify", tmp_path / "prod.yml", "--html", path, code=2)
        assert f"--html {path}: no file can be written there" in done.stderr


def test_runs_are_kept_in_the_project_and_the_oldest_go(tmp_path: Path) -> None:
    (tmp_path / "deploy.py").touch()
    (tmp_path / "inventory").mkdir()
    inventory = tmp_path / "inventory/prod.yml"
    assert folder_of(inventory) == tmp_path / ".fleet/runs/prod"
    for number in range(KEPT + 2):
        started = f"2026-11-28T10:{number:02}:00+00:00"
        assert keep_run(inventory, outcome(HostOutcome("gpu01", ("host",)), started=started)) == ""
    (folder_of(inventory) / "2026-11-28T1100.json").write_text("no JSON")
    kept = earlier_runs(inventory)
    assert len(kept) == KEPT - 1 and kept[0].started == "2026-11-28T10:03:00+00:00"


def test_a_history_that_cannot_be_kept_is_said_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / ".fleet").write_text("a file")
    said = keep_run(tmp_path / "prod.yml", outcome())
    assert "this run is not kept" in said
    assert earlier_runs(tmp_path / "prod.yml") == []


def test_reports_of_a_deploy_hold_hosts_that_did_not_get_to_it(tmp_path: Path) -> None:
    away = HostOutcome("gpu02", ("host",), error="cannot be reached: timed out")
    files = {form: tmp_path / "new" / name for form, name in OF_A_DEPLOY.items()}
    write_reports(outcome(HostOutcome("gpu01", ("host",), (FAILED,)), away), files)
    found_there = json.loads(files["json"].read_text())
    assert [host["error"] for host in found_there["hosts"]] == ["", away.error]
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(OF_A_DEPLOY.values())


def test_below_the_table_stands_what_to_do_and_nothing_that_a_host_can_forge() -> None:
    stream = io.StringIO()
    away = HostOutcome("gpu02", ("host",), error="cannot be reached")
    print_closing(outcome(HostOutcome("gpu01", ("host",), (FAILED, WARNING)), away), stream)
    said = stream.getvalue()
    assert (
        said.index("xid is worth a look") < said.index("unit failed") < said.index("gpu02: cannot")
    )
    assert "  do:       deploy again" in said and "\x1b[2J" not in said


def test_the_end_of_a_run_says_who_failed_where_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in ("_seen", "_words", "_failed"):
        monkeypatch.setattr(results, kept, {})
    results.note_words("gpu01", ["no systemd", "runs there"])
    results.note_failure("gpu01", "Preflight | Check what the host has")
    results.note_unreached("gpu02", "cannot be reached: timed out")
    results.note_unreached("gpu03", "cannot be reached: it reboots")
    results.note_reached("gpu03")
    stream = io.StringIO()
    print_failed({name: results.why_failed(name) for name in ("gpu01", "gpu02")}, 3, stream)
    assert stream.getvalue().splitlines() == [
        "2 of 3 machines failed:",
        "  gpu01: Preflight | Check what the host has: no systemd; runs there",
        "  gpu02: cannot be reached: timed out",
    ]
    assert results.why_failed("gpu03") == "before its first step; see above"


def test_parts_of_one_machine_are_one_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_seen", {})
    results.record(HostOutcome("gpu01", ("mirror",), (WARNING,)))
    results.record(HostOutcome("gpu01", ("host",), (FAILED,), driver="580"))
    seen = results.seen("gpu01")
    assert seen and seen.roles == ("mirror", "host") and seen.results == (WARNING, FAILED)


def test_models_that_were_kept_to_be_looked_at_go_as_planned_or_at_once() -> None:
    def asked(**planned: object) -> str:
        item = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"], **planned}
        plan = host_plan(item, gpus=[{"model": "RTX 3090"}])
        return "\n".join(verification_questions(plan).values())

    for_ever, cold = asked(), asked(keep_alive="5m", preload=False)
    warm = asked(keep_alive=60)
    assert '"keep_alive"' not in for_ever and ".cold" not in for_ever
    assert '"keep_alive": 900' in cold and ".cold" in cold
    assert """|| kept='"5m"'""" in cold
    # What a slice loads by itself may just be on its way into memory.
    assert "chat.cold ;;" not in warm
    assert """|| kept='60'""" in warm
