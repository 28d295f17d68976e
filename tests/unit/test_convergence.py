"""What a run does to a host that differs from the plan, and that it does nothing otherwise."""

from dataclasses import replace

import pytest

from ollama_fleet.convergence import (
    Difference,
    FilesAndUnits,
    UnitState,
    compare,
    digest,
    manifest_of,
)
from ollama_fleet.host.units import converge_script, read_found
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer
from ollama_fleet.render import Rendered, render_host
from tests.unit.examples import bound, host_plan

CHAT = {"name": "chat", "gpus": [0], "port": 11434}
CODE = {"name": "code", "gpus": [1], "port": 11435}
TALK = {"name": "talk", "gpus": [2], "port": 11436}
RUNNING = UnitState("loaded", "active", "enabled")


def rendered(plan: HostPlan) -> Rendered:
    return render_host(plan, bound(plan))


def deployed(wanted: Rendered) -> FilesAndUnits:
    """A host on which a run for `wanted` has just ended."""
    files = {file.path: (file.mode.lstrip("0"), digest(file)) for file in wanted.files}
    units = dict.fromkeys(wanted.units, RUNNING)
    return FilesAndUnits(files, units, has_account=True, manifest=manifest_of(wanted))


def change(old: HostPlan, new: HostPlan) -> Difference:
    return compare(rendered(new), deployed(rendered(old)))


def test_a_second_run_changes_nothing() -> None:
    assert not change(host_plan(CHAT, CODE), host_plan(CHAT, CODE))


def test_a_bare_host_gets_everything() -> None:
    wanted = rendered(host_plan(CHAT, CODE))
    difference = compare(wanted, FilesAndUnits())
    assert difference.write == wanted.files
    assert difference.make_account
    assert difference.start == difference.enable == wanted.units
    assert difference.restart == ()


@pytest.mark.parametrize(
    "changed",
    [{"context": 9000}, {"parallel": 3}, {"port": 11440}, {"gpus": [3]}, {"env": {"A": "b"}}],
)
def test_a_changed_slice_restarts_alone(changed: dict) -> None:
    difference = change(host_plan(CHAT, CODE, TALK), host_plan(CHAT, CODE | changed, TALK))
    assert difference.restart == ("ollama-code.service",)
    assert difference.start == ()


def test_a_new_slice_in_the_middle_restarts_none() -> None:
    difference = change(host_plan(CHAT, TALK), host_plan(CHAT, CODE, TALK))
    assert difference.restart == ()
    assert difference.start == ("ollama-code.service",)


def test_a_removed_slice_loses_its_unit_and_restarts_none() -> None:
    difference = change(host_plan(CHAT, CODE, TALK), host_plan(CHAT, TALK))
    assert difference.remove_units == ("ollama-code.service",)
    assert "/etc/systemd/system/ollama-code.service" in difference.delete
    assert "/etc/systemd/system/ollama-code.service.d/10-order.conf" in difference.delete
    assert difference.restart == difference.start == ()


def test_a_renamed_slice_is_removed_and_started() -> None:
    difference = change(host_plan(CHAT, CODE), host_plan(CHAT, CODE | {"name": "coder"}))
    assert difference.remove_units == ("ollama-code.service",)
    assert difference.start == ("ollama-coder.service",)


def test_a_new_release_restarts_every_slice() -> None:
    old = host_plan(CHAT, CODE)
    new = replace(old, release=replace(old.ollama, version="0.32.16"))
    assert change(old, new).restart == ("ollama-chat.service", "ollama-code.service")


def test_another_archive_of_the_same_version_restarts_every_slice() -> None:
    old = host_plan(CHAT)
    new = replace(old, release=replace(old.ollama, sha256={"amd64": "cd" * 32}))
    assert change(old, new).restart == ("ollama-chat.service",)


def test_a_hand_edited_unit_is_put_right_and_restarted() -> None:
    wanted = rendered(host_plan(CHAT, CODE))
    found = deployed(wanted)
    path = "/etc/systemd/system/ollama-chat.service"
    difference = compare(wanted, replace(found, files={**found.files, path: ("644", "0" * 64)}))
    assert [file.path for file in difference.write] == [path]
    assert difference.restart == ("ollama-chat.service",)


def test_a_loosened_mode_is_put_right() -> None:
    wanted = rendered(host_plan(CHAT))
    found = deployed(wanted)
    files = {path: ("666", sha) for path, (_, sha) in found.files.items()}
    assert compare(wanted, replace(found, files=files)).write == wanted.files


def test_a_stopped_slice_is_started_again() -> None:
    wanted = rendered(host_plan(CHAT, CODE))
    found = deployed(wanted)
    dead = {**found.units, "ollama-chat.service": UnitState("loaded", "failed", "enabled")}
    difference = compare(wanted, replace(found, units=dead))
    assert difference.start == ("ollama-chat.service",)
    assert difference.restart == difference.write == ()


def test_a_run_killed_before_its_restart_is_made_good() -> None:
    wanted = rendered(host_plan(CHAT, CODE))
    found = replace(deployed(wanted), interrupted=frozenset({"ollama-code.service"}))
    assert compare(wanted, found).restart == ("ollama-code.service",)


def test_a_run_killed_before_its_reload_is_made_good() -> None:
    wanted = rendered(host_plan(CHAT))
    found = deployed(wanted)
    stale = {**found.units, "ollama.target": replace(RUNNING, needs_reload=True)}
    difference = compare(wanted, replace(found, units=stale))
    assert difference.reload and not difference.restart
    assert "systemctl daemon-reload" in converge_script(difference)


@pytest.mark.parametrize(
    "stock",
    [UnitState("loaded", "active", "enabled"), UnitState("loaded", "inactive", "enabled"),
     UnitState("loaded", "active", "disabled")],
)  # fmt: skip
def test_the_stock_unit_is_stopped_and_disabled(stock: UnitState) -> None:
    wanted = rendered(host_plan(CHAT))
    found = deployed(wanted)
    difference = compare(wanted, replace(found, units={**found.units, "ollama.service": stock}))
    assert difference.stop_stock
    assert "systemctl disable --now --quiet ollama.service" in converge_script(difference)


def test_swapped_slices_are_both_stopped_before_one_starts() -> None:
    old = host_plan(CHAT, CODE)
    new = host_plan(CHAT | {"gpus": [1]}, CODE | {"gpus": [0]})
    script = converge_script(change(old, new))
    stop = script.index("systemctl stop ollama-chat.service ollama-code.service")
    assert stop < script.index("systemctl start ollama-chat.service ollama-code.service")


def test_restarts_are_announced_before_files_change() -> None:
    script = converge_script(change(host_plan(CHAT), host_plan(CHAT | {"context": 9000})))
    announced = script.index("touch ollama-chat.service")
    written = script.index("put /etc/systemd/system/ollama-chat.service 0644")
    done = script.index("rm -f ollama-chat.service")
    assert announced < written < done


def test_answers_of_a_host_are_read() -> None:
    sha = "0" * 64
    answers = {
        "files": Answer(f"644 /etc/a\n755 /opt/b c\n{sha}  /etc/a\n{'1' * 64}  /opt/b c"),
        "units": Answer(
            "Id=ollama-chat.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n"
            "Id=ollama.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState="
        ),
        "pending": Answer("ollama-chat.service"),
        "account": Answer("", 0),
        "manifest": Answer("x  /etc/a"),
    }
    found = read_found(answers)
    assert found.files == {"/etc/a": ("644", sha), "/opt/b c": ("755", "1" * 64)}
    assert found.units["ollama-chat.service"] == RUNNING
    assert found.interrupted == {"ollama-chat.service"}
    assert found.has_account and found.manifest == "x  /etc/a\n"
