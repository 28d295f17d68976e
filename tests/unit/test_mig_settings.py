"""Power limit, clocks, ECC and compute mode: asked, compared, refused."""

from dataclasses import replace

import pytest

from ollama_fleet.gpu_settings import (
    LOCKED_QUESTION,
    SETTINGS_QUESTIONS,
    GpuState,
    ecc_waits,
    read_settings,
    setting_differences,
    setting_problems,
    settings_questions,
    wanted_settings,
)
from ollama_fleet.mig.decision import decide
from ollama_fleet.mig.found import NO_USE
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE, layout_lines
from ollama_fleet.mig.problems import reboot_reasons
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import GpuSettings, Provision
from ollama_fleet.questions import Answer
from ollama_fleet.render import gpu_files, render_gpus
from tests.unit.examples import hardware, host_plan
from tests.unit.test_mig import chat
from tests.unit.test_mig import host as cut_host

FIRST, SECOND = "0000:10:00.0", "0000:11:00.0"
HOST = hardware(2)
LOCKED = f"{FIRST} -lgc 210,1980\n"
EVERY = GpuSettings((), 300, (210, 1980), None, True, "default")


def plan(*settings: GpuSettings) -> HostPlan:
    return replace(host_plan(), provision=Provision(settings=settings))


def answers(**changes: str) -> dict[str, Answer]:
    texts = {
        "gpu settings": "0, 300.00, 100.00, 350.00, Default, Enabled, Enabled\n"
        "1, 350.00, 100.00, 350.00, Exclusive_Process, Disabled, Enabled\n",
        "gpu clock limits": "0, 1980, 1593\n1, 1980, 1593\n",
        "gpu clocks locked": f"{FIRST} -lgc 210,1980\n",
        **{name.replace("_", " "): text for name, text in changes.items()},
    }
    assert texts.keys() == SETTINGS_QUESTIONS.keys()
    return {name: Answer(text) for name, text in texts.items()}


def states(**changes: str) -> tuple[GpuState, ...]:
    return read_settings(answers(**changes), HOST)


def test_only_what_is_locked_is_asked_where_nothing_is_wanted() -> None:
    assert settings_questions(plan()) == LOCKED_QUESTION
    assert settings_questions(plan(EVERY)) == SETTINGS_QUESTIONS


def test_what_is_not_told_is_unknown_and_never_zero() -> None:
    first, second = states(
        gpu_settings="0, [N/A], [Unknown Error], [N/A], [N/A], [N/A], [N/A]\nno devices",
        gpu_clock_limits='Field "clocks.max.graphics" is not a valid field to query.',
        gpu_clocks_locked="",
    )
    assert first == GpuState(0)
    assert second == GpuState(1)


def test_later_entries_go_over_earlier_ones() -> None:
    found = wanted_settings(plan(EVERY, GpuSettings((1,), 250)), HOST)
    assert found[FIRST] == {"-pl": "300", "-c": "default", "-e": "1", "-lgc": "210,1980"}
    assert found[SECOND]["-pl"] == "250"


def test_a_gpu_that_is_as_wanted_differs_in_nothing() -> None:
    differing = {address for address, _, _ in setting_differences(plan(EVERY), HOST, states())}
    assert differing == {SECOND}


def test_each_difference_is_named() -> None:
    found = setting_differences(plan(EVERY), HOST, states())
    assert [(wanted, has) for _, wanted, has in found] == [
        ("power limit 300 W", "350 W"),
        ("compute mode default", "exclusive_process"),
        ("graphics clock -lgc 210,1980", "not locked since the driver was loaded"),
    ]


def locked_only(text: str) -> tuple[GpuState, ...]:
    return read_settings({"gpu clocks locked": Answer(text)}, HOST)


def test_a_clock_that_nobody_wants_locked_any_more_is_a_difference() -> None:
    other = GpuSettings((), 300, None, (810, 1593), True, "default")
    found = setting_differences(plan(other), HOST, states(gpu_clocks_locked=LOCKED))
    assert (FIRST, "graphics clock unlocked", "-lgc 210,1980") in found
    assert setting_differences(plan(), HOST, locked_only(LOCKED)) == [
        (FIRST, "graphics clock unlocked", "-lgc 210,1980")
    ]
    assert setting_differences(plan(), HOST, locked_only("")) == []


def test_a_host_without_any_setting_left_is_told_to_unlock_and_then_has_no_such_files() -> None:
    bare = plan()
    change = decide(bare, (), HOST, locked_only(LOCKED), NO_USE)
    assert change.why == (f"GPU {FIRST}: graphics clock unlocked instead of -lgc 210,1980",)
    assert not change.drain and not change.before
    files = {file.path: file.text for file in gpu_files(bare, (), HOST)}
    assert files.keys() == {LAYOUT_FILE, GPUS_SCRIPT}
    assert [line for line in files[LAYOUT_FILE].splitlines() if not line.startswith("#")] == []
    assert render_gpus(bare, (), HOST) == []
    assert not decide(bare, (), HOST, locked_only(""), NO_USE)


def test_ecc_that_waits_is_no_reason_to_stop_before_the_slices_run_again() -> None:
    assert ecc_waits(states()) == [1]
    assert reboot_reasons(HOST, states()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (GpuSettings((), 400), "power_limit_w 400 is out of its range, 100 to 350 W"),
        (GpuSettings((), 90), "power_limit_w 90 is out of its range, 100 to 350 W"),
        (
            GpuSettings((0,), None, (210, 2500)),
            "graphics clock 2500 MHz is above its highest, 1980",
        ),
        (GpuSettings((0,), None, None, (810, 9000)), "memory clock 9000 MHz is above its highest"),
        (GpuSettings((5,), 300), "no GPU 5; the host has 2"),
    ],
)
def test_what_a_card_cannot_do_is_refused(settings: GpuSettings, said: str) -> None:
    assert said in "\n".join(setting_problems(plan(settings), (), HOST, states()))


def test_a_card_without_ecc_cannot_switch_it() -> None:
    none = states(gpu_settings="0, 300, 100, 350, Default, [N/A], [N/A]\n")
    said = list(setting_problems(plan(GpuSettings((0,), ecc=False)), (), HOST, none))
    assert said and "no ECC to switch" in said[0]


def test_a_cut_gpu_cannot_be_exclusive() -> None:
    cut = replace(plan(GpuSettings((), compute_mode="exclusive_process")), mig=((0, ("1g.5gb",)),))
    said = list(setting_problems(cut, (), HOST, states()))
    assert len(said) == 1 and "GPU 0 (" in said[0]
    assert "a GPU that is cut cannot be exclusive" in said[0]


@pytest.mark.parametrize("gpus", [(), (0,)])
def test_a_gpu_that_a_slice_got_cannot_be_prohibited(gpus: tuple[int, ...]) -> None:
    """The inventory does not say which GPU a wish gets, so this can only be seen here."""
    settings = Provision(settings=(GpuSettings(gpus, compute_mode="prohibited"),))
    whole = replace(host_plan({"name": "chat", "gpus": [0]}), provision=settings)
    (said,) = setting_problems(whole, bind(whole, HOST), HOST, states())
    assert said.startswith("gpu_settings of GPU 0 (NVIDIA GeForce RTX 3090): slice 'chat' is to")
    assert said.endswith("leave `compute_mode` out for it")
    part = replace(chat(), provision=settings)
    bound = bind(part, cut_host())
    (said,) = setting_problems(part, bound, cut_host(), (GpuState(0), GpuState(1)))
    assert "GPU 0 (NVIDIA H100 80GB HBM3): slice 'chat'" in said


def test_a_gpu_that_no_slice_has_may_be_prohibited() -> None:
    settings = Provision(settings=(GpuSettings((1,), compute_mode="prohibited"),))
    spare = replace(host_plan({"name": "chat", "gpus": [0]}), provision=settings)
    assert list(setting_problems(spare, bind(spare, HOST), HOST, states())) == []


def test_good_values_have_no_problem() -> None:
    assert list(setting_problems(plan(EVERY), (), HOST, states())) == []


def test_the_host_is_told_to_restore_them_at_boot() -> None:
    assert layout_lines(plan(GpuSettings((1,), 250, (210, 1200))), (), HOST) == [
        f"set {SECOND} -pl 250",
        f"set {SECOND} -lgc 210,1200",
    ]
