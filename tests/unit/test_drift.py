"""What differs from the inventory is found, and who made the difference is told."""

import pytest

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.processes import PROCESSES, group_of
from ollama_fleet.checks.registry import judge
from ollama_fleet.checks.strangers import SERVERS, STORES, UNIT_FILES
from ollama_fleet.checks.unit_files import UNITS
from ollama_fleet.questions import Answer
from tests.unit.drift_answers import CGROUP, START_S, times, unit
from tests.unit.examples import host_plan
from tests.unit.test_checks import PLAN, assembled, healthy

CHAT = "/etc/systemd/system/ollama-chat.service"
MINE = f"{CHAT}.d/mine.conf"
OTHER = "ab" * 32
DRIFT = (
    *("files", "inventory", "firewall rules", "drop-ins", "in force", "foreign processes"),
    *("strange units", "other servers", "other stores", "unlisted models"),
)


def judged(plan=PLAN, **changes: str) -> list[CheckResult]:
    """Results of a healthy host with these answers changed."""
    texts = assembled(healthy()) | changes
    return judge(plan, {name: Answer(text) for name, text in texts.items()})


def bad(results: list[CheckResult]) -> list[CheckResult]:
    return [one for one in results if one.status != "ok" and one.check in DRIFT]


def only(results: list[CheckResult]) -> CheckResult:
    """The one thing that is not well; whatever it is, it says what to do."""
    (result,) = bad(results)
    assert result.remedy and result.expected
    return result


def changed(path: str, old: str | None = None, new: str = OTHER, mode: str = "") -> str:
    """What a host tells of its files, one of them changed."""
    text = healthy()["owned.files"]
    lines = [line for line in text.splitlines() if line.endswith(f" {path}")]
    if mode:
        return text.replace(f"{lines[0]}\n", f"{mode} {path}\n")
    return text.replace(lines[1], f"{new}  {path}")


def without(text: str, path: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.endswith(f" {path}"))


def test_a_host_as_a_deploy_left_it_has_not_drifted() -> None:
    results = judged()
    assert bad(results) == []
    assert {one.check for one in results} >= set(DRIFT) - {"firewall rules"}


def test_a_file_that_somebody_edited_is_named_and_its_content_is_not_shown() -> None:
    result = only(judged(**{"owned.files": changed(CHAT)}))
    assert (result.check, result.status) == ("files", "failed")
    assert result.found == f"{CHAT} was edited"


def test_a_file_of_an_earlier_inventory_is_no_edit() -> None:
    digest = next(
        line.split()[0] for line in healthy()["owned.manifest"].splitlines() if CHAT in line
    )
    older = {
        "owned.files": changed(CHAT),
        "owned.manifest": healthy()["owned.manifest"].replace(digest, OTHER),
    }
    result = only(judged(**older))
    assert (result.check, result.found) == ("inventory", f"{CHAT} is of an older inventory")
    assert "`--dry --diff` shows what it would change" in result.remedy


def test_a_file_that_was_removed_is_missing() -> None:
    files = without(healthy()["owned.files"], CHAT)
    assert only(judged(**{"owned.files": files})).found == f"{CHAT} is missing"
    manifest = without(healthy()["owned.manifest"], CHAT)
    result = only(judged(**{"owned.files": files, "owned.manifest": manifest}))
    assert (result.check, result.found) == ("inventory", f"{CHAT} is not there yet")


def test_a_copy_of_a_unit_of_ours_is_left_over() -> None:
    copy = CHAT.replace("chat", "copy")
    files = f"644 {copy}\n{OTHER}  {copy}\n{healthy()['owned.files']}"
    assert only(judged(**{"owned.files": files})).found == f"{copy} is left over"
    manifest = f"{healthy()['owned.manifest']}{OTHER}  {copy}\n"
    result = only(judged(**{"owned.files": files, "owned.manifest": manifest}))
    assert (result.check, result.found) == ("inventory", f"{copy} is not wanted any more")


@pytest.mark.parametrize(
    ("mode", "words"),
    [("666", "mode 666, owner root"), ("644:ollama", "mode 644, owner ollama")],
)
def test_a_file_that_others_may_write_is_told(mode: str, words: str) -> None:
    result = only(judged(**{"owned.files": changed(CHAT, mode=mode)}))
    assert result.found == f"{CHAT} has {words}, not mode 644, owner root"


def test_a_manifest_that_is_gone_is_told_and_leaves_edits_without_a_name() -> None:
    result = only(judged(**{"owned.manifest": "", "owned.files": changed(CHAT)}))
    assert "/var/lib/ollama/manifest is missing" in result.found
    assert f"{CHAT} was edited, or the inventory has changed since" in result.found


def test_many_changed_files_do_not_flood_a_report() -> None:
    result = only(judged(**{"owned.files": ""}))
    assert result.found.count("is missing") == 5 and "more" in result.found


def units(**chat: str) -> str:
    """The units of the example, that of a slice with these properties."""
    names = ("ollama-chat.service", "ollama-code.service")
    blocks = (unit(names[0], **chat), unit(names[1]))
    return "\n".join(blocks) + "\n" + "".join(map(times, names))


def test_a_drop_in_of_others_over_a_slice_is_named() -> None:
    result = only(judged(**{UNITS: units(DropInPaths=MINE)}))
    assert (result.subject, result.check, result.found) == ("chat", "drop-ins", MINE)
    assert result.failed and "`# fleet: keep: REASON`" in result.remedy


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/ollama-.service.d/x.conf",
        "/run/systemd/system/ollama-chat.service.d/x.conf",
        "/etc/systemd/system.control/ollama-chat.service.d/50-MemoryMax.conf",
        "/usr/lib/systemd/system/ollama-chat.service.d/x.conf",
    ],
)
def test_drop_ins_are_seen_wherever_systemd_reads_them(path: str) -> None:
    result = only(judged(**{UNITS: units(DropInPaths=path)}))
    assert result.failed and result.found == path


def test_a_drop_in_for_every_unit_of_a_machine_is_worth_a_look_only() -> None:
    result = only(judged(**{UNITS: units(DropInPaths="/etc/systemd/system/service.d/all.conf")}))
    assert result.status == "warning"
    assert not bad(
        judged(**{UNITS: units(DropInPaths="/usr/lib/systemd/system/service.d/10.conf")})
    )


def test_a_drop_in_that_says_why_it_is_there_may_stay() -> None:
    text = units(DropInPaths=MINE) + f"{MINE}:# fleet: keep\n"
    results = judged(**{UNITS: text})
    assert not bad(results)
    (shown,) = (one.found for one in results if one.check == "drop-ins")
    assert f"{MINE} may stay" in shown


def test_a_unit_that_is_masked_or_hidden_by_another_is_told() -> None:
    result = only(judged(**{UNITS: units(LoadState="masked", FragmentPath="")}))
    assert (result.subject, result.found) == ("chat", "ollama-chat.service is masked")
    path = "/etc/systemd/system.control/ollama-chat.service"
    assert only(judged(**{UNITS: units(FragmentPath=path)})).found.endswith(f"comes from {path}")


def test_a_unit_whose_file_systemd_has_not_read_is_told() -> None:
    result = only(judged(**{UNITS: units(NeedDaemonReload="yes")}))
    assert result.check == "in force" and "has not read the files" in result.found


def test_a_slice_that_was_started_before_its_environment_file_changed_is_told() -> None:
    secret = "/etc/ollama/secret.env"
    text = units(EnvironmentFiles=f"{secret} (ignore_errors=no)")
    assert not bad(judged(**{UNITS: f"{text}{START_S - 5:.6f} {secret}\n"}))
    result = only(judged(**{UNITS: f"{text}{START_S + 5:.6f} {secret}\n"}))
    assert result.found == f"ollama-chat.service was started before {secret} was changed"
    assert "`systemctl restart ollama-chat.service`" in result.remedy
    assert only(judged(**{UNITS: text})).found.endswith(f"needs {secret}, which is not there")


def test_a_slice_that_runs_with_an_older_unit_is_told() -> None:
    text = units() + times("ollama-chat.service", written_s=START_S + 1)
    assert only(judged(**{UNITS: text})).found.endswith(f"was started before {CHAT} was changed")


def process(
    pid: int, mib: str, name: str = "/usr/bin/python3", gpu: int = 0, kind: str = "C"
) -> str:
    return f"process 00000000:1{gpu}:00.0 N/A {pid} {kind} {mib} {name}\n"


def owner(pid: int, user: str, group: str) -> str:
    return f"user /proc/{pid} {user}\n/proc/{pid}/cgroup:0::{group}\n"


def test_a_foreign_process_on_a_slices_gpu_is_told_with_all_that_helps_to_find_it() -> None:
    text = process(77, "500") + owner(77, "bob", "/user.slice/user-1000.slice/session-3.scope")
    result = only(judged(**{PROCESSES: text}))
    assert (result.subject, result.check, result.status) == ("chat", "foreign processes", "warning")
    assert "/usr/bin/python3 (pid 77, bob, in session-3.scope): 500 MiB" in result.found
    assert "`systemctl status 77`" in result.remedy


def test_a_foreign_process_that_takes_the_plans_memory_fails_the_slice() -> None:
    text = process(77, "23000") + owner(77, "bob", "/system.slice/train.service")
    result = only(judged(**{PROCESSES: text}))
    assert result.failed and "train.service" in result.found and "the plan leaves" in result.found


def test_the_slices_own_processes_are_none() -> None:
    text = process(77, "6000") + CGROUP.format(pid=77, unit="ollama-chat.service")
    assert not bad(judged(**{PROCESSES: text}))


def test_a_process_that_ended_meanwhile_is_nobodys() -> None:
    assert not bad(judged(**{PROCESSES: process(77, "6000")}))


def test_a_units_name_that_a_user_gave_himself_does_not_hide_a_process() -> None:
    spoofed = "/user.slice/user-1000.slice/user@1000.service/app.slice/ollama-chat.service"
    text = process(77, "500") + owner(77, "bob", spoofed)
    assert "in ollama-chat.service" in only(judged(**{PROCESSES: text})).found


def test_a_desktop_on_a_slices_gpu_is_told_as_such() -> None:
    text = process(9, "120", "/usr/lib/xorg/Xorg", kind="G") + owner(
        9, "root", "/system.slice/gdm.service"
    )
    result = only(judged(**{PROCESSES: text}))
    assert result.status == "warning" and "graphics" in result.found


def test_a_gpu_that_is_kept_for_others_is_theirs() -> None:
    gpus = [{"model": "RTX 3090", "count": 2}]
    plan = host_plan({"name": "chat", "gpus": [0], "models": ["qwen3:8b"]}, gpus=gpus, reserved=[1])
    text = process(77, "23000", gpu=1) + owner(77, "bob", "/system.slice/train.service")
    results = judged(plan, **{PROCESSES: text})
    assert [one for one in bad(results) if one.check == "foreign processes"] == []


def test_a_hostile_process_name_is_only_text() -> None:
    name = "\x1b[31mx\u202e" + "y" * 500
    text = process(77, "[N/A]", name) + owner(77, "bob", "/system.slice/train.service")
    found = only(judged(**{PROCESSES: text})).found
    assert "\x1b" not in found and "\u202e" not in found and len(found) < 400
    assert "an unknown amount" in found


def test_a_container_is_known_by_the_beginning_of_its_id() -> None:
    long = "0123456789ab" + "c" * 52
    assert group_of(f"/system.slice/docker-{long}.scope") == "container 0123456789ab"
    assert group_of(f"/kubepods.slice/x/cri-containerd-{long}.scope") == "container 0123456789ab"


def test_another_server_of_ollama_is_told() -> None:
    text = healthy()[SERVERS] + owner(55, "bob", "/user.slice/user-1000.slice/session-3.scope")
    result = only(judged(**{SERVERS: text}))
    assert (result.status, result.found) == ("warning", "pid 55, bob, in session-3.scope")


def test_a_unit_that_nobody_asked_for_is_worth_a_look_and_a_stock_unit_at_boot_fails() -> None:
    extra = "/etc/systemd/system/ollama-extra.service"
    result = only(judged(**{UNIT_FILES: extra}))
    assert (result.status, result.found) == ("warning", extra)
    stock = "Id=ollama.service\nActiveState=inactive\nUnitFileState=enabled\n"
    result = only(judged(units=f"{healthy()['units']}\n\n{stock}"))
    assert result.failed and "would take every GPU" in result.found


def test_a_second_store_is_told_and_an_empty_one_is_not() -> None:
    result = only(
        judged(**{STORES: "41943040\t/usr/share/ollama/.ollama/models\n8\t/root/.ollama/models"})
    )
    assert (result.status, result.found) == (
        "warning",
        "/usr/share/ollama/.ollama/models: 40.0 GiB",
    )


def test_models_that_nobody_listed_fail_only_where_they_are_not_to_be_kept() -> None:
    from dataclasses import replace

    api = healthy()["api"].replace('{"models": [', '{"models": [{"name": "old:latest"}, ', 1)
    texts = assembled(healthy() | {"api": api})
    results = judged(**{"api": texts["api"]})
    assert not bad(results)
    assert [one.found for one in results if one.check == "unlisted models"] == ["old:latest"]
    strict = replace(PLAN, store=replace(PLAN.store, keep_unlisted=False))
    results = bad(judged(strict, **{"api": texts["api"]}))
    assert [one.found for one in results if one.check == "unlisted models"] == ["old:latest"]


def test_every_drift_check_stands_in_the_table_of_kinds_and_in_the_docs() -> None:
    from pathlib import Path

    from ollama_fleet.checks.kinds import KINDS

    docs = Path(__file__).parents[2] / "docs"
    page, verify = (docs / name for name in ("drift.md", "verify.md"))
    for name in DRIFT:
        assert name in KINDS and KINDS[name].quick
        assert f"**{name}**" in page.read_text() and f"| {name} |" in verify.read_text()
