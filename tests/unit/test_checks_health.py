"""GPU health on recorded lines of nvidia-smi and the kernel log: trouble, advice, and silence."""

from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.checks.gpu_values import REMAPPED, asked, read_table, read_xids
from tests.unit import gpu_findings
from tests.unit.examples import UUIDS, gpu
from tests.unit.gpu_findings import advice, trouble
from tests.unit.test_checks import PLAN, judged

DATA = Path(__file__).parent / "data" / "health"


def recorded(name: str) -> str:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8")


def test_recorded_values_are_judged_gpu_by_gpu() -> None:
    table = read_table(recorded("four-h100"))
    values = [table[UUIDS[n]] for n in range(4)]
    assert [trouble(gpu(n), values[n]) for n in range(4)] == [
        {},
        {"throttling": "too hot: slowed down by its hardware"},
        {},
        {},
    ]
    assert advice(gpu(0), values[0]) == {}
    assert advice(gpu(2), values[2]) == {
        "throttling": "warm: the driver holds its clocks down",
        "pcie width": "8 of 16 PCIe lanes: models load slower",
    }
    assert gpu_findings.judged(gpu(3), values[3]) == {"gpu health", "xid"}, (
        "values that are none are not judged"
    )
    assert trouble(replace(gpu(3), lost=True), values[3]).keys() == {"gpu health"}


def test_a_driver_that_lacks_a_field_still_answers_the_others() -> None:
    table = read_table(recorded("old-driver"))
    assert trouble(gpu(0), table[UUIDS[0]]) == {
        "row remapping": "memory pages are retired at the next reset"
    }
    assert trouble(gpu(1), table[UUIDS[1]]) == {}


def test_rows_that_wait_or_could_not_be_replaced_are_trouble() -> None:
    table = read_table(recorded("remapped-rows"))
    words = [trouble(gpu(n), table[UUIDS[n]]).get("row remapping") for n in range(4)]
    assert words == [
        None,
        "a memory row is replaced at the next reset",
        "a memory row could not be replaced",
        None,
    ]


def test_rows_that_were_replaced_in_time_are_told_and_no_trouble() -> None:
    """A row of which errors were corrected, and one that held an error, are out of use by now."""
    text = f"#{','.join(REMAPPED)}\n{UUIDS[0]}, No, No, 2, 1"
    found = {r.subject: r for r in judged({"health.rows": text}) if r.check == "row remapping"}
    assert [(r.status, r.found) for r in found.values()] == [("ok", "3 rows replaced")]


@pytest.mark.parametrize(
    ("action", "wrong"),
    [
        ("None", {}),
        ("N/A", {}),
        ("[N/A]", {}),
        ("", {}),
        ("GPU Reset", {"gpu health": "wants: GPU Reset"}),
        ("Node Reboot", {"gpu health": "wants: Node Reboot"}),
    ],
)
def test_what_the_driver_recommends_is_said(action: str, wrong: dict[str, str]) -> None:
    assert trouble(gpu(0), {"gpu_recovery_action": action}) == wrong


@pytest.mark.parametrize(
    ("bits", "said"), [("0x1", "idle"), ("0x4", "at its power limit"), ("0x0", "full clocks")]
)
def test_a_card_that_is_well_says_why_its_clocks_are_what_they_are(bits: str, said: str) -> None:
    text = f"#clocks_event_reasons.active\n{UUIDS[0]}, {bits}"
    (found,) = [r for r in judged({"health.gpus": text}) if r.check == "throttling"]
    assert (found.status, found.found) == ("ok", said)


def test_only_xids_of_the_loaded_driver_s_lifetime_count_each_once() -> None:
    assert read_xids(recorded("kernel-log")) == {"0000:11:00.0": [79, 154], "0000:1a:00.0": [31]}


def test_an_xid_is_worth_a_look_and_fails_nobody() -> None:
    """What it broke shows in the values; a card that was mended since keeps its line in the log."""
    results = [
        result
        for result in judged({"health.xids": recorded("kernel-log")})
        if result.check == "xid"
    ]
    assert [result.status for result in results] == ["ok", "warning"]
    assert "Xid 79 since its driver was loaded (fell off the bus)" in results[1].found
    assert results[1].remedy


def test_a_gpu_in_trouble_fails_with_what_to_do() -> None:
    text = f"#remapped_rows.pending\n{UUIDS[0]}, 1"
    first, second = [
        r for r in judged({"health.rows": text + f"\n{UUIDS[1]}, 0"}) if r.check == "row remapping"
    ]
    assert (first.status, second.status) == ("failed", "ok")
    assert "reset the GPU" in first.remedy


def test_one_unknown_field_does_not_hide_the_others() -> None:
    """Run against a stand-in for nvidia-smi that knows all but one field."""
    import os
    import subprocess
    import tempfile

    script = """#!/bin/sh
case "$1" in *clocks*) echo 'Field "clocks" is not a valid field to query.'; exit 2 ;; esac
echo "GPU-1, 7"
"""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "nvidia-smi"
        program.write_text(script)
        program.chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", asked(PLAN)["health.gpus"]],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        )
    values = read_table(done.stdout)["GPU-1"]
    assert values["retired_pages.pending"] == values["pcie.link.width.max"] == "7"
    assert "clocks_event_reasons.active" not in values
