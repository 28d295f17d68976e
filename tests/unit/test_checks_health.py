"""GPU health on recorded lines of nvidia-smi and the kernel log: trouble, advice, and silence."""

from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.checks.health import Health, asked, health_of, read_table, read_xids
from tests.unit.examples import UUIDS, gpu
from tests.unit.test_checks import PLAN, judged

DATA = Path(__file__).parent / "data" / "health"


def recorded(name: str) -> str:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8")


def test_recorded_values_are_judged_gpu_by_gpu() -> None:
    table = read_table(recorded("four-h100"))
    found = [health_of(gpu(n), table[UUIDS[n]], []) for n in range(4)]
    assert found[0] == Health()
    assert found[1].trouble == ("too hot: slowed down by its hardware",)
    assert found[2].trouble == ()
    assert [line[:15] for line in found[2].advice] == ["warm: the drive", "8 of 16 PCIe la"]
    assert found[3] == Health(), "values that are none are not judged"
    assert health_of(replace(gpu(3), lost=True), table[UUIDS[3]], []).trouble


def test_a_driver_that_lacks_a_field_still_answers_the_others() -> None:
    table = read_table(recorded("old-driver"))
    assert health_of(gpu(0), table[UUIDS[0]], []).trouble == (
        "memory pages are retired at the next reset",
    )
    assert health_of(gpu(1), table[UUIDS[1]], []) == Health()


def test_rows_that_wait_or_could_not_be_replaced_are_trouble() -> None:
    table = read_table(recorded("remapped-rows"))
    words = [health_of(gpu(n), table[UUIDS[n]], []).trouble for n in range(4)]
    assert words == [
        (),
        ("a memory row is replaced at the next reset",),
        ("a memory row could not be replaced",),
        (),
    ]


@pytest.mark.parametrize(
    ("action", "trouble"),
    [
        ("None", ()),
        ("N/A", ()),
        ("[N/A]", ()),
        ("", ()),
        ("GPU Reset", ("wants: GPU Reset",)),
        ("Node Reboot", ("wants: Node Reboot",)),
    ],
)
def test_what_the_driver_recommends_is_said(action: str, trouble: tuple[str, ...]) -> None:
    assert health_of(gpu(0), {"gpu_recovery_action": action}, []).trouble == trouble


def test_only_xids_of_the_loaded_driver_s_lifetime_count_each_once() -> None:
    assert read_xids(recorded("kernel-log")) == {"0000:11:00.0": [79, 154], "0000:1a:00.0": [31]}


def test_an_xid_is_worth_a_look_and_fails_nobody() -> None:
    """What it broke shows in the values; a card that was mended since keeps its line in the log."""
    results = [
        result
        for result in judged({"health.xids": recorded("kernel-log")})
        if result.check == "gpu health"
    ]
    assert [result.status for result in results] == ["ok", "warning"]
    assert "Xid 79 since its driver was loaded (fell off the bus)" in results[1].found
    assert results[1].remedy


def test_a_gpu_in_trouble_fails_with_what_to_do() -> None:
    text = f"#remapped_rows.pending\n{UUIDS[0]}, 1"
    first, second = [r for r in judged({"health.rows": text}) if r.check == "gpu health"]
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
