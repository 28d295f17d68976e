"""The program that runs on a machine while it is looked at, run here for real, and how often it is asked."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from ollama_fleet.top import program as programs
from ollama_fleet.top.frame import Frame, read_frame
from ollama_fleet.top.pace import BUDGET, LONGEST_S, Pace
from ollama_fleet.top.program import END, program
from ollama_fleet.top.traffic import Traffic
from tests.unit.top_fleet import plans, recorded

SHELLS = [shell for shell in ("dash", "bash") if which(shell)]


@dataclass
class Running:
    """The program, and what it says."""

    process: subprocess.Popen[str]

    def ask(self, word: str = "quick") -> Frame:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        lines = []
        while not lines or lines[-1] != f"\001{END}":
            line = self.process.stdout.readline()
            assert line, "it ended"
            lines.append(line.rstrip("\n"))
        found = read_frame(lines)
        assert found
        return found


@contextmanager
def running(text: str, shell: str = "sh") -> Iterator[Running]:
    process = subprocess.Popen(
        [shell, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_it_says_what_the_machine_is_and_that_there_is_no_nvidia_smi(shell: str) -> None:
    hosts, gateway = plans()
    with running(program(hosts["tp1"], gateway), shell) as machine:
        first, second = machine.ask("full"), machine.ask()
    assert first.full and first.disks and first.pci is not None and first.xids == {}
    assert not second.full and second.disks is None
    cpus = sum(line.startswith("cpu") for line in Path("/proc/stat").read_text().splitlines()) - 1
    assert first.cpus == cpus and first.memory_mib and first.available_mib
    assert first.now and abs(first.now - time.time()) < 60
    assert first.smi_code is not None or which("nvidia-smi")
    assert second.cpu_busy and first.cpu_busy and second.cpu_busy >= first.cpu_busy
    assert second.spent_s and first.spent_s and second.spent_s > first.spent_s > 0
    assert first.balancer is None


def test_a_machine_without_slices_is_asked_for_nothing_of_them() -> None:
    text = program(None, None)
    assert "nvidia-smi" not in text and "systemctl" not in text and "curl" not in text
    with running(text) as machine:
        assert machine.ask("full").cpus


def test_ticks_of_a_large_old_machine_keep_their_digits(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 123456789012 0 1 987654321098 1 0 0 0 0 0\ncpu0 0\n")
    text = program(None, None).replace("cat /proc/stat", f"cat {tmp_path}/stat")
    with running(text) as machine:
        frame = machine.ask()
    assert (frame.cpu_busy, frame.cpu_idle) == (123456789013, 987654321099)


def test_it_ends_with_its_input_and_leaves_nothing() -> None:
    with running(program(None, None)) as machine:
        machine.ask()
        assert machine.process.stdin
        machine.process.stdin.close()
        assert machine.process.wait(5) == 0


def test_it_ends_by_itself_when_nobody_asks_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "QUIET_S", 1)
    with running(program(None, None)) as machine:
        machine.ask()
        assert machine.process.wait(10) == 0


def test_the_log_is_read_from_where_it_was_left_over_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    monkeypatch.setattr(
        programs, "_LOG_LINES", programs._LOG_LINES.replace(programs._LOG, str(log))
    )
    with running(program(None, plans()[1])) as machine:
        assert machine.ask().log == ()
        log.write_text('{"n":1}\nno json\n')
        assert [row["n"] for row in machine.ask().log] == [1]
        assert machine.ask().log == ()
        with log.open("a") as more:
            more.write('{"n":2}\n{"n":3}\n')
        assert [row["n"] for row in machine.ask().log] == [2, 3]
        log.rename(tmp_path / "access.log.1")
        log.write_text('{"n":4}\n')
        assert [row["n"] for row in machine.ask().log] == [4]
        log.write_text('{"n":5}\n' + '{"n":6,"x":"' + "x" * programs.MOST_LOG + '"}\n{"n":7}\n')
        frame = machine.ask()
        assert [row["n"] for row in frame.log] == [7] and frame.log_skipped


def test_an_older_driver_is_asked_by_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text(
        """#!/bin/sh
case $1 in
*clocks_event*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2 ;;
esac
echo "0, GPU-1, Old Card, 00000000:01:00.0, 1000, 10, 50, 3, [N/A], [N/A], [N/A], [N/A], 0x8"
"""
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    text = program(plans()[0]["tp1"], None).replace(" PATH=", f" PATH={tmp_path}:", 1)
    with running(text) as machine:
        for _ in range(2):
            (gpu,) = machine.ask().gpus
            assert gpu.name == "Old Card" and gpu.slowed == ("slowed down by its hardware",)


def frames(cost_s: float, cpus: int, count: int = 5) -> list[Frame]:
    return [Frame(cpus=cpus, spent_s=cost_s * (nth + 1)) for nth in range(count)]


@pytest.mark.parametrize(("cost_s", "cpus"), [(0.05, 2), (0.05, 64), (0.2, 4), (0.001, 1)])
def test_a_dear_frame_comes_more_seldom(cost_s: float, cpus: int) -> None:
    pace = Pace(2)
    for frame in frames(cost_s, cpus):
        pace.take(frame)
    assert pace.every_s >= 2 and pace.frame_s == pytest.approx(cost_s)
    assert cost_s / pace.every_s <= BUDGET * cpus + 1e-9
    assert pace.cost.cpu_percent is not None and pace.cost.cpu_percent <= 1.0001


def test_the_interval_has_an_end_and_a_new_program_begins_its_count_anew() -> None:
    pace = Pace(2)
    for frame in frames(20, 1):
        pace.take(frame)
    assert pace.every_s == LONGEST_S
    pace.take(Frame(cpus=1, spent_s=0.01))
    assert pace.frame_s == pytest.approx(0.01) and pace.every_s == 2


def test_what_is_dear_is_asked_every_half_minute() -> None:
    pace = Pace(2)
    assert [pace.wants_full(at) for at in (0.0, 2.0, 29.0, 30.0, 32.0)] == [
        *(True, False, False),
        *(True, False),
    ]
    pace.begin_anew()
    assert pace.wants_full(33.0)


def row(at: int, **more: object) -> dict[str, object]:
    return {
        "time": f"2026-11-28T16:00:{at:02}+00:00",
        "model": "qwen3:8b",
        "status": 200,
        "slice": "a.b",
        "tokens_out": 60,
        "first_byte_seconds": 0.5,
        **more,
    }


NOW = 1795881600  # 2026-11-28T16:00:00Z


def test_the_last_minute_is_what_ended_within_sixty_seconds() -> None:
    traffic = Traffic()
    traffic.add([row(0), row(30), row(50, status=503, tokens_out=None, slice="")], NOW + 59, False)
    assert traffic.of_model("qwen3:8b").requests_per_s == 3 / 60
    assert traffic.of_model("qwen3:8b").faults == 1
    assert traffic.of_slice("a.b").tokens_per_s == 2
    traffic.add([row(59, first_byte_seconds=9.0)], NOW + 80, False)
    rates = traffic.of_model("qwen3:8b")
    assert rates.requests_per_s == 3 / 60 and (rates.first_byte_s, rates.slowest_first_byte_s) == (
        0.5,
        9.0,
    )
    traffic.add([], NOW + 200, False)
    assert traffic.of_model("qwen3:8b").first_byte_s is None


def test_a_log_that_was_cut_is_told_over_the_time_that_is_known() -> None:
    traffic = Traffic()
    traffic.add([row(40), row(45)], NOW + 50, True)
    assert traffic.span_s == 10 and traffic.of_model("qwen3:8b").requests_per_s == 0.2


def test_a_model_of_many_names_is_one() -> None:
    traffic = Traffic()
    traffic.add([row(1, model="Qwen3:8B"), row(1, model=""), row(1, model=7)], NOW + 2, False)
    assert traffic.of_model("library/qwen3:8b").requests_per_s == 1 / 60
    assert recorded("gateway").log
