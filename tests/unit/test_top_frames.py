"""What machines print becomes the fleet as it is: frames recorded on hosts of the lab, and garbage."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_fleet.checks.kinds import KINDS
from ollama_fleet.top.frame import Frame, read_frame
from ollama_fleet.top.gather import fleet_now
from tests.unit.top_fleet import (
    fleet_of,
    healthy,
    lines_of,
    machine_of,
    recorded,
    said,
    troubled,
    watched,
)

RECORDED = ("gateway", "gateway1", "mig", "mig1", "lost-gpu", "dead-slice", "hung")


def test_gpus_are_shown_as_nvidia_smi_has_them_with_what_was_planned() -> None:
    first, second = machine_of("tp1", "gateway").gpus
    assert (first.name, first.memory_mib, first.used_mib) == (
        "NVIDIA GeForce RTX 3090",
        24576,
        6401,
    )
    assert (first.temperature_c, first.power_w, first.power_limit_w) == (57, 147.11, 350.0)
    assert first.utilization_percent == 38 and not first.lost and not first.slowed
    assert first.planned_mib and abs(first.planned_mib - 6401) < 640
    assert second.address == "0000:31:00.0" and second.ecc_uncorrected is None


def test_slices_on_instances_say_which_and_what_a_card_does_not_know_is_no_zero() -> None:
    machine = machine_of("tp2", "mig", "mig1")
    assert [(one.name, one.gpus, one.instance) for one in machine.slices] == [
        ("small", (0,), "2g.10gb"),
        ("small-2", (0,), "2g.10gb"),
        ("large", (0,), "3g.20gb"),
    ]
    (gpu,) = machine.gpus
    assert gpu.cut and gpu.utilization_percent is None and gpu.ecc_uncorrected == 0
    large = machine.slices[2]
    assert large.models and large.models[0].name == "qwen3:8b" and large.models[0].kept_s is None
    assert large.models[0].vram_mib == large.models[0].size_mib == 6095
    assert (large.state, large.listens, large.serves, large.restarts) == ("active", True, True, 0)


def test_a_healthy_fleet_under_load_says_who_waits_and_how_fast_it_is() -> None:
    chat = {pool.model: pool for pool in healthy().machines[0].pools}["qwen3:8b"]
    rows = recorded("gateway").log + recorded("gateway1").log
    tokens = sum(row["tokens_out"] or 0 for row in rows if row["model"] == "qwen3:8b")
    assert (chat.waiting, chat.running, chat.up, chat.slices) == (2, 3, 2, 2)
    assert chat.tokens_per_s == tokens / 60 and chat.faults == 0
    assert chat.first_byte_s and chat.slowest_first_byte_s and chat.first_byte_s > 0.5
    slices = {one.name: one for machine in healthy().machines for one in machine.slices}
    by_slice = [slices["chat"].tokens_per_s or 0, slices["large"].tokens_per_s or 0]
    assert sum(by_slice) == pytest.approx(chat.tokens_per_s)
    assert slices["chat"].running == 2


def test_a_share_of_cpu_time_needs_two_frames() -> None:
    assert machine_of("tp1", "gateway").system.cpu_percent is None
    found = machine_of("tp1", "gateway", "gateway1").system
    assert found.cpu_percent is not None and 0 <= found.cpu_percent <= 100
    assert found.disks[0].path == "/", "of the full frame, which was the first"


def test_what_is_broken_is_an_alarm_in_the_checks_words() -> None:
    first, second, dark = troubled().machines
    assert (
        "gpu 0000:31:00.0",
        "gpu health",
        "critical",
        "lost: it does not answer the driver",
    ) in (said(first))
    assert ("code", "weights on gpu", "critical") in [row[:3] for row in said(first)]
    assert ("gpu 0000:17:00.0", "throttling", "major") in [row[:3] for row in said(first)]
    assert ("gpu 0000:31:00.0", "xid", "minor") in [row[:3] for row in said(first)]
    assert ("small-2", "unit", "critical", "its unit is inactive") in said(second)
    assert ("gpu 0000:17:00.0", "ecc", "critical") in [row[:3] for row in said(second)]
    assert said(dark)[0][:3] == ("host", "reachable", "critical")
    assert not troubled().reached and healthy().reached
    assert troubled().alarms[0].severity == "critical"


def test_an_alarm_bears_the_name_of_a_check() -> None:
    found = {alarm.check for alarm in troubled().alarms} | {
        alarm.check for alarm in machine_of("tp2", "hung").alarms
    }
    assert len(found) > 8 and found <= set(KINDS)


def test_a_lost_gpu_keeps_its_place_and_its_slice() -> None:
    machine = machine_of("tp1", "lost-gpu")
    assert [gpu.lost for gpu in machine.gpus] == [False, True]
    assert machine.gpus[1].used_mib is None and machine.gpus[1].name == ""
    assert machine.slices[1].gpus == (1,)


def test_a_gpu_that_nvidia_smi_does_not_list_is_missed() -> None:
    one = watched("tp1", "gateway")
    assert one.frame and one.lasting
    one.frame = replace(one.frame, gpus=one.frame.gpus[1:], smi_code=0)
    machine = fleet_of(one).machines[0]
    assert [gpu.position for gpu in machine.gpus if gpu.lost] == [0]
    assert ("host", "gpu count", "critical", "1 of 2 GPUs are in nvidia-smi") in said(machine)


def test_nvidia_smi_that_fails_is_told_in_its_own_words() -> None:
    one = watched("tp1", "gateway")
    assert one.frame
    words = "Failed to initialize NVML: Driver/library version mismatch"
    one.frame = replace(one.frame, gpus=(), smi_code=18, smi_message=words)
    found = said(fleet_of(one).machines[0])
    assert ("host", "gpu count", "critical", f"0 of 2 GPUs are in nvidia-smi ({words})") in found


def test_a_slice_that_hangs_is_told_by_its_silence() -> None:
    machine = machine_of("tp2", "hung")
    slices = {one.name: one for one in machine.slices}
    assert slices["large"].serves is False and "no token within" in slices["large"].silence
    assert slices["small-2"].models is None and slices["small-2"].listens is True
    words = "port 11525 is open, and the API does not answer"
    assert ("small-2", "api", "critical", words) in said(machine)
    assert ("large", "inference", "critical") in [row[:3] for row in said(machine)]


def test_marks_of_operators_deploys_and_the_watchdog_are_told_apart() -> None:
    marks = """/var/lib/ollama/drained/chat:
/var/lib/ollama/drained/chat:since 2026-11-28T10:00:00Z
/var/lib/ollama/drained/chat:by ops
/var/lib/ollama/drained/chat:reason a new fan: at noon
/run/ollama-drained/code:
/var/lib/ollama/watchdog/code.quarantined:
/var/lib/ollama/watchdog/code.quarantined:3 repairs in an hour""".splitlines()
    lines = lines_of("gateway")
    at = lines.index("\001marks") + 1
    one = watched("tp1")
    frame = read_frame([*lines[:at], *marks, *lines[at + 1 :]])
    assert frame
    one.take(frame, 0)
    chat, code = fleet_of(one).machines[0].slices
    assert chat.drained == "since 2026-11-28T10:00:00Z by ops: a new fan: at noon"
    assert code.drained == "by a deploy" and code.quarantined == "3 repairs in an hour"


def test_restarts_while_it_is_looked_at_are_an_alarm_and_older_ones_are_not() -> None:
    one = watched("tp1", "gateway")
    assert one.frame
    for at, count in ((2.0, "7"), (4.0, "9")):
        of = one.frame.units["ollama-chat.service"] | {"NRestarts": count}
        units = dict(one.frame.units) | {"ollama-chat.service": of}
        one.first_restarts = {} if count == "7" else one.first_restarts
        one.take(replace(one.frame, units=units), at)
    found = fleet_of(one).machines[0]
    assert found.slices[0].restarts == 9
    assert ("chat", "restarts", "major", "restarted 2 times while it was looked at") in said(found)


def test_a_disk_that_fills_is_an_alarm() -> None:
    lines = [
        re.sub(r"^overlay .*", "/dev/sda1 1000000 990000 10000 99% /", line)
        for line in (lines_of("mig"))
    ]
    one, frame = watched("tp2"), read_frame(lines)
    assert frame
    one.take(frame, 0)
    assert ("host", "disk", "major", "0.0 GiB are free at /") in said(fleet_of(one).machines[0])


def test_a_gateway_whose_balancer_is_silent_is_one_alarm_and_its_queue_unknown() -> None:
    one = watched("tp1", "gateway")
    assert one.frame
    one.frame = replace(one.frame, balancer=None)
    machine = fleet_of(one).machines[0]
    assert [pool.waiting for pool in machine.pools] == [None, None, None]
    found = [row for row in said(machine) if row[1] == "ollama-balancer"]
    assert found == [("gateway gw", "ollama-balancer", "critical", "HAProxy does not answer")]


def test_without_a_gateway_tokens_per_second_are_unknown() -> None:
    machine = fleet_now("x", "", [watched("tp2", "mig")], 1).machines[0]
    assert {one.tokens_per_s for one in machine.slices} == {None}


@pytest.mark.parametrize("name", RECORDED)
def test_a_frame_that_was_cut_short_is_none(name: str) -> None:
    lines = lines_of(name)
    assert read_frame(lines) is not None
    assert read_frame(lines[:-2]) is None
    assert read_frame([]) is None


LINES = st.one_of(
    st.text(max_size=80),
    st.sampled_from([line for name in RECORDED for line in lines_of(name)]),
    st.sampled_from(
        ["\001rows", "\001columns", "\001system", "\001times", "\001balancer", "\001lines"]
    ),
    st.sampled_from(
        [
            "port FFFF 99999999999999999999",
            "cpu 1.2e+10 nan",
            "cpu 1e999 2",
            "code 9" * 9,
            '{"time": 5, "model": ["x"], "status": true}',
            '{"time":"9999-12-31T23:59:59+00:00","model":"x","status":200,"tokens_out":1e400}',
            '{"models":[{"name":{},"size":-1,"size_vram":true,"expires_at":"0001-01-01T00:00:00Z"}]}',
            '{"models":{"a":1}}',
            "[" * 5000,
            "0m99999999999999s ١m٢s",
        ]
    ),
)


@given(st.lists(LINES, max_size=60))
def test_garbage_makes_no_error_and_no_figures(lines: list[str]) -> None:
    frame = read_frame([*lines, "\001end of frame", ""])
    assert isinstance(frame, Frame)
    for host in ("tp1", "tp2"):
        one = watched(host)
        one.take(frame, 0)
        one.take(frame, 1)
        json.dumps(str(fleet_of(one)))
        assert one.pace.every_s >= 2


@given(st.data())
def test_a_damaged_frame_makes_no_error(data: st.DataObject) -> None:
    lines = list(lines_of(data.draw(st.sampled_from(RECORDED))))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(LINES)
    frame = read_frame([*lines, "\001end of frame", ""])
    assert frame
    one = watched("tp1")
    one.take(frame, 0)
    fleet_of(one)
