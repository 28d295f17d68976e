"""Whether slices have loaded what they shall: who begins anew, and what the verification says."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.host.warm import LOADED, UNITS, asked, cold_slices, start_script
from ollama_fleet.planner.plan import MODELS_DIR, HostPlan
from ollama_fleet.questions import Answer
from ollama_fleet.render import render_host
from ollama_fleet.store import parse_name
from ollama_fleet.warm import ABSENT
from tests.unit import test_checks as recorded
from tests.unit.examples import bound, host_plan
from tests.unit.test_render import lines

CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"]}
FOR_EVER = "2318-03-04T12:00:00Z"
SOON = "2026-11-28T12:00:00Z"
DONE = {"LoadState": "loaded", "ActiveState": "inactive", "ExecMainStatus": "0"}
RAN = {**DONE, "ExecMainStartTimestampMonotonic": "77"}


def loaded(name: str = "qwen3:8b", context: int = 4096, until: str = FOR_EVER) -> dict[str, Any]:
    return {"name": name, "context_length": context, "expires_at": until}


def texts(*slices: dict) -> dict[str, str]:
    plan = host_plan(*slices)
    found = render_host(plan, bound(plan)).files
    return {file.path.removeprefix("/etc/systemd/system/"): file.text for file in found}


# Files


def test_a_slice_s_start_starts_its_warming_and_nobody_waits_for_it() -> None:
    files = texts(CHAT)
    (start,) = lines(files["ollama-chat.service.d/20-warm.conf"], "ExecStartPost")
    assert start.startswith("-+") and "--no-block ollama-warm-chat.service" in start
    unit = files["ollama-warm-chat.service"]
    assert lines(unit, "After") == lines(unit, "PartOf") == ["ollama-chat.service"]
    assert lines(unit, "Requisite") == lines(unit, "Requires") == []
    # A oneshot would hold up the end of the boot.
    assert lines(unit, "Type") == ["exec"]
    assert lines(unit, "DeviceAllow") == [] and lines(unit, "PrivateDevices") == ["yes"]
    assert "ollama-warm-chat" not in files["ollama-chat.service"]


def test_a_slice_that_loads_nothing_has_no_such_unit() -> None:
    files = texts(CHAT | {"preload": False})
    assert not [path for path in files if "warm" in path]


def test_another_preload_does_not_restart_the_slice() -> None:
    """Only a changed unit of its own does."""
    before, after = texts(CHAT), texts(CHAT | {"preload": False})
    assert before["ollama-chat.service"] == after["ollama-chat.service"]


# Who begins anew


def cold(
    models: list[dict[str, Any]] | None,
    state: dict[str, str] | None = None,
    plan: HostPlan | None = None,
) -> bool:
    plan = plan or host_plan(CHAT)
    unit = {"Id": "ollama-warm-chat.service", **(RAN if state is None else state)}
    ps = "" if models is None else json.dumps({"models": models})
    answers = {
        UNITS: Answer("\n".join(f"{key}={value}" for key, value in unit.items())),
        LOADED: Answer(f"{ps}\n#{plan.slices[0].url}/api/ps\n"),
    }
    assert set(answers) == set(asked(plan))
    return bool(cold_slices(plan, answers))


def test_a_slice_with_its_models_in_memory_is_left_alone() -> None:
    assert not cold([loaded()])
    assert not cold([loaded(context=16384)])  # the verification's matter


def test_a_slice_without_them_begins_anew() -> None:
    assert cold([])
    two = host_plan(CHAT | {"models": ["qwen3:8b", "qwen3:0.6b"]})
    assert cold([loaded()], plan=two)
    assert not cold([loaded(), loaded("qwen3:0.6b")], plan=two)


def test_a_model_that_a_client_s_keep_alive_takes_away_is_kept_again() -> None:
    assert cold([loaded(until=SOON)])


def test_nothing_is_taken_from_a_slice_that_serves_something_else() -> None:
    assert not cold([loaded("llama3:70b")])
    # Though there would be a place for one more.
    two = host_plan(CHAT | {"models": ["qwen3:8b", "qwen3:0.6b"]})
    assert not cold([loaded("llama3:70b")], plan=two)


def test_a_slice_that_is_loading_is_not_started_twice() -> None:
    assert not cold([], {**RAN, "ActiveState": "active"})


def test_one_that_failed_or_found_no_model_begins_anew_whatever_is_there_now() -> None:
    assert cold([loaded()], {**RAN, "ActiveState": "failed"})
    assert cold([loaded()], {**RAN, "ExecMainStatus": str(ABSENT)})


def test_what_is_not_installed_yet_or_does_not_answer_is_not_begun() -> None:
    assert not cold([], {"LoadState": "not-found"})
    assert not cold(None)


def test_models_that_go_by_themselves_are_loaded_once_per_start() -> None:
    brief = host_plan(CHAT | {"keep_alive": "5m"})
    assert not cold([], plan=brief)
    assert cold([], {**DONE, "ExecMainStartTimestampMonotonic": "0"}, plan=brief)


def test_beginning_anew_forgets_how_often_it_failed() -> None:
    script = start_script(host_plan(CHAT).slices)
    reset = script.index("systemctl reset-failed ollama-warm-chat.service")
    assert reset < script.index("systemctl start ollama-warm-chat.service")


# The verification


def warm(memory: list[dict[str, Any]], told: str = "", **changes: Any) -> CheckResult:
    """The check of a slice whose server says that it has these models in memory."""
    plan = host_plan(CHAT | changes, gpus=[{"model": "RTX 3090", "count": 2}])
    answers = recorded.assembled({**recorded.healthy(), "warm": told})
    answers["api"] = f"{json.dumps({'models': memory})}\n#{plan.slices[0].url}/api/ps\n"
    results = judge(plan, {name: Answer(text) for name, text in answers.items()})
    (found,) = [result for result in results if result.check == "warm"]
    return found


def test_models_as_planned_are_well() -> None:
    found = warm([loaded()])
    assert (found.status, found.found) == ("ok", "1 model, kept for good")


def test_a_failed_warming_is_told_with_its_last_words() -> None:
    told = (
        "state ollama-warm-chat.service failed\n"
        "said ollama-warm-chat.service qwen3:8b cannot be loaded: CUDA error"
    )
    found = warm([], told)
    assert found.failed
    assert "ollama-warm-chat.service failed: qwen3:8b cannot be loaded: CUDA error" in found.found


def test_one_that_takes_longer_than_a_deploy_waits_is_told() -> None:
    found = warm([], "state ollama-warm-chat.service active")
    assert found.failed and "is still loading" in found.found


def test_one_that_ended_well_while_it_was_waited_for_is_well() -> None:
    assert warm([loaded()], "state ollama-warm-chat.service inactive").status == "ok"


def test_a_model_that_is_gone_again_is_told() -> None:
    found = warm([])
    assert found.failed and found.found == "qwen3:8b is not in memory"
    assert "`systemctl start ollama-warm-chat.service`" in found.remedy


def test_a_slice_that_serves_something_else_is_worth_a_look() -> None:
    found = warm([loaded("llama3:70b")])
    assert found.status == "warning"
    assert "because llama3:70b serves there" in found.found
    assert "`ollama-slice chat stop llama3:70b`" in found.remedy


def test_a_model_that_goes_by_itself_may_be_gone() -> None:
    assert warm([], keep_alive="5m").status == "ok"


def test_a_client_s_keep_alive_is_worth_a_look() -> None:
    found = warm([loaded(until=SOON)])
    assert found.status == "warning" and "stays until 2026-11-28 12:00:00 only" in found.found


def test_a_model_with_a_context_of_its_own_is_told() -> None:
    """Each client without options would reload it, whatever is in memory now."""
    told = 'parameters qwen3:8b {"num_ctx":16384,"stop":["x"]}'
    for context in (16384, 4096):
        found = warm([loaded(context=context)], told)
        assert found.failed and "its own parameters say num_ctx 16384" in found.found
        assert "`context: 16384`" in found.remedy
    assert warm([loaded(context=16384)], told, context=16384).status == "ok"


def test_a_context_of_its_own_beyond_what_it_was_trained_for_is_none() -> None:
    """As of nomic-embed-text, which says 8192 and does 2048."""
    told = 'parameters nomic-embed-text:latest {"num_ctx":8192}'
    models = ["nomic-embed-text"]
    trained = [loaded("nomic-embed-text:latest", 2048)]
    assert warm(trained, told, models=models).status == "ok"
    assert warm(trained, told, models=models, context=1024).failed
    unknown = 'parameters me/mine:1 {"num_ctx":8192}'
    assert warm([loaded("me/mine:1", 2048)], unknown, models=["me/mine:1"]).status == "ok"


def test_a_client_s_num_ctx_is_worth_a_look() -> None:
    found = warm([loaded(context=16384)])
    assert found.status == "warning" and "16384 tokens, as a client asked" in found.found
    unknown = warm([loaded("me/mine:1", 2048)], models=["me/mine:1"])
    assert unknown.status == "warning" and "it can do no more, or a client" in unknown.found


def test_a_slice_that_loads_nothing_is_not_judged() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        warm([], preload=False)


# The question, in sh


def ask(folder: Path, plan: HostPlan, states: str = "") -> str:
    """What it prints on a host with this store; `states` of the unit, one for each time it is asked."""
    (folder / "states").write_text(states)
    (folder / "systemctl").write_text(
        f"""#!/bin/sh
state=$(head -n 1 {folder}/states)
[ "$1" = show ] && echo "$state" && exit
sed -i 1d {folder}/states
[ "$state" = active ]
"""
    )
    (folder / "journalctl").write_text("#!/bin/sh\necho one\necho 'two  words'\n")
    for name in ("systemctl", "journalctl"):
        (folder / name).chmod(0o755)
    table = folder / "warm"
    table.write_text("ollama-warm-chat.service\n" if states else "")
    question = verification_questions(plan)["warm"]
    question = question.replace("/run/ollama-fleet/verify.$$/warm", str(table))
    done = subprocess.run(
        [shutil.which("dash") or "sh", "-c", question.replace(MODELS_DIR, str(folder))],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stderr == ""
    return done.stdout


def store(folder: Path, model: str, parameters: str | None, indent: int | None = None) -> None:
    manifest = folder / "manifests" / parse_name(model).path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    kinds = {
        "model": "aa",
        **({"params": f"bb{model[:4].encode().hex()}{len(model)}"} if parameters else {}),
        "license": "cc",
    }
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}"}
        for kind, digest in kinds.items()
    ]
    manifest.write_text(
        json.dumps({"config": {"digest": "sha256:dd"}, "layers": layers}, indent=indent)
    )
    (folder / "blobs").mkdir(exist_ok=True)
    if parameters:
        (folder / f"blobs/sha256-{kinds['params']}").write_text(parameters)


@pytest.mark.parametrize("indent", [None, 2])
def test_num_ctx_is_read_from_the_store_by_the_shell_alone(
    tmp_path: Path, indent: int | None
) -> None:
    models = ["me/own:1", "qwen3:8b", "me/plain:1", "me/gone:1"]
    store(tmp_path, "me/own:1", '{"num_ctx":16384}', indent)
    store(tmp_path, "qwen3:8b", '{"stop":["x"]}', indent)
    store(tmp_path, "me/plain:1", None, indent)
    said = ask(tmp_path, host_plan(CHAT | {"models": models}))
    assert said == 'parameters me/own:1 {"num_ctx":16384}\n'


def test_a_warming_in_progress_is_waited_for(tmp_path: Path) -> None:
    said = ask(tmp_path, host_plan(CHAT), "active\nactive\ninactive\ninactive\n")
    assert said == "state ollama-warm-chat.service inactive\n"


def test_the_last_words_of_a_failed_one_are_asked_for(tmp_path: Path) -> None:
    said = ask(tmp_path, host_plan(CHAT), "failed\nfailed\n")
    assert said.splitlines() == [
        "state ollama-warm-chat.service failed",
        "said ollama-warm-chat.service one",
        "said ollama-warm-chat.service two  words",
    ]
