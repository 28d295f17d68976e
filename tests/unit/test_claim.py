"""A run claims a host for as long as it lives: real shell and real processes, in the test's own folder."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_fleet import controller
from ollama_fleet.claim import (
    CLAIM_QUESTION,
    REPAIRING,
    RUN_DIR,
    TAKE_CLAIM,
    Claim,
    in_the_way,
    introduce,
    read_claim,
)
from ollama_fleet.questions import question_script, read_answers

SHELL = shutil.which("dash") or "sh"
HEAD = 'set -eu\nsay() { echo "$*"; }\nfail() { echo "$*" >&2; exit 1; }\n'


class Host:
    """Scripts as they run on a host; this very process carries their connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"

    def script(self, run: str, ended: str = "", steps: str = "echo changed") -> str:
        text = introduce(run, f"alice@{run}, process 1", "m b 1 2", ended)
        return f"{text}{HEAD}{TAKE_CLAIM}{steps}".replace(RUN_DIR, str(self.folder))

    def run(self, run: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # As pyinfra calls it, with one shell in the other.
            [SHELL, "-c", f"{SHELL} -c '{SHELL} -s'; exit $?"],
            input=self.script(run, **more),
            capture_output=True,
            text=True,
            timeout=20,
        )

    def owner(self) -> dict[str, str]:
        lines = (self.folder / "owner").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def claim(self) -> Claim | None:
        text = question_script(CLAIM_QUESTION).replace(RUN_DIR, str(self.folder))
        done = subprocess.run([SHELL, "-c", text], capture_output=True, text=True)
        return read_claim(read_answers(done.stdout.splitlines()))

    def run_that_died(self, run: str, steps: str = "echo changed") -> None:
        """Its connection was this other process, which is over."""
        code = "import subprocess, sys; subprocess.run([sys.argv[1], '-s'], input=sys.argv[2], text=True)"
        subprocess.run(
            [sys.executable, "-c", code, SHELL, self.script(run, steps=steps)], check=True
        )


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_first_script_of_a_run_claims_the_host_and_the_next_one_is_let_in(
    machine: Host,
) -> None:
    assert machine.claim() is None
    assert machine.run("a").stdout == "changed\n"
    claimed = machine.owner()
    assert claimed["run"] == "a" and claimed["who"] == "alice@a, process 1"
    assert claimed["carrier"].split()[0] == str(os.getpid()), "shells carry no connection"
    assert machine.run("a").stdout == "changed\n"
    assert machine.owner() == claimed
    found = machine.claim()
    assert found and found.alive and not found.busy and found.carrier == str(os.getpid())


def test_another_run_is_told_who_and_since_when_and_changes_nothing(machine: Host) -> None:
    machine.run("a")
    done = machine.run("b")
    since = machine.owner()["since"]
    assert done.returncode == 1 and done.stdout == ""
    assert f"right now: alice@a, process 1, since {since}; wait until it has ended" in done.stderr
    assert f"`kill {os.getpid()}` on this host" in done.stderr
    assert machine.owner()["run"] == "a"


def test_a_run_whose_connection_is_over_is_in_nobody_s_way(machine: Host) -> None:
    machine.run_that_died("a")
    found = machine.claim()
    assert found and not found.alive
    assert machine.run("b").returncode == 0
    assert machine.owner()["run"] == "b"


def test_a_number_that_another_process_has_now_is_not_the_connection(machine: Host) -> None:
    machine.run("a")
    file = machine.folder / "owner"
    file.write_text(
        "".join(
            f"carrier {os.getpid()} 5\n" if line.startswith("carrier") else f"{line}\n"
            for line in file.read_text().splitlines()
        )
    )
    found = machine.claim()
    assert found and not found.alive
    assert machine.run("b").returncode == 0


def test_a_run_known_to_be_dead_is_taken_over_from_though_its_connection_lingers(
    machine: Host,
) -> None:
    machine.run("a")
    assert machine.run("b", ended="c").returncode == 1
    assert machine.run("b", ended="a").returncode == 0


def test_a_run_takes_its_own_claim_again_on_a_new_connection(machine: Host) -> None:
    """As after a reboot in its middle, and should /run have stayed."""
    machine.run_that_died("a")
    since = machine.owner()["since"]
    assert machine.run("a").returncode == 0
    assert machine.owner()["carrier"].split()[0] == str(os.getpid())
    assert machine.owner()["since"] == since


def test_what_a_dead_run_left_at_work_is_waited_for(machine: Host) -> None:
    machine.run_that_died("a", steps="sleep 5 >/dev/null 2>&1 &")
    found = machine.claim()
    assert found and found.busy and not found.alive
    started = time.monotonic()
    done = machine.run("b")
    assert "alice@a, process 1 is dead, but what it had begun here still runs" in done.stdout
    assert done.returncode == 0 and time.monotonic() - started > 0.7
    found = machine.claim()
    assert found and found.run == "b" and not found.busy


def test_a_lock_that_nobody_claims_is_not_waited_for(machine: Host) -> None:
    machine.folder.mkdir()
    holder = subprocess.Popen(["flock", "--no-fork", str(machine.folder / "lock"), "sleep", "60"])
    try:
        until(lambda: machine.run("b").returncode != 0)
        done = machine.run("b")
    finally:
        holder.kill()
        holder.wait()
    assert "another deploy is changing this host right now; wait for it" in done.stderr


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_watchdog_at_work_is_waited_for_and_named(machine: Host) -> None:
    """Also where no run has ever claimed the host; and what it was about is no more than words."""
    machine.folder.mkdir(mode=0o700)
    (machine.folder / "acting").write_text("chat: restart\nchat\n")
    holder = subprocess.Popen(["flock", machine.folder / "lock", "sleep", "5"])
    while not (machine.folder / "lock").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    script = machine.script("b").replace(REPAIRING, f"{machine.folder}/acting")
    done = subprocess.run([SHELL, "-s"], input=script, capture_output=True, text=True, timeout=20)
    holder.wait()
    assert "the watchdog of this host (chat: restart) is at work; waiting for it" in done.stdout
    assert done.returncode == 0 and done.stdout.endswith("changed\n")


def test_a_script_that_belongs_to_no_run_claims_nothing(machine: Host) -> None:
    assert machine.run("").returncode == 0
    assert not (machine.folder / "owner").exists()


def test_names_are_no_shell(machine: Host) -> None:
    who = introduce("a", "o'brien@$(touch /tmp/x) `id`", "m")
    assert "run_who='o'\"'\"'brien@$(touch /tmp/x) `id`'" in who


def test_this_process_is_known_while_it_lives_and_after() -> None:
    mine = controller.this_run()
    assert mine is controller.this_run()
    assert f"process {os.getpid()}" in mine.who
    assert controller.is_here(mine.controller) and not controller.has_ended(mine.controller)

    machine, boot, _, _ = mine.controller.split()
    code = "from ollama_fleet import controller; print(controller.this_run().controller)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ended = child.stdout.strip()
    assert ended.startswith(f"{machine} {boot} ")
    assert controller.has_ended(ended)


def test_a_run_of_another_machine_is_never_called_dead_and_one_before_a_reboot_always() -> None:
    machine, _, pid, began = controller.this_run().controller.split()
    assert not controller.has_ended(f"{'0' * 16} other-boot {pid} {began}")
    assert not controller.is_here(f"{'0' * 16} other-boot {pid} {began}")
    assert controller.has_ended(f"{machine} another-boot {pid} {began}")
    assert not controller.has_ended("nonsense")


def test_a_machine_without_proc_asks_ps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "PROC", tmp_path / "none")
    for cached in (controller.this_run, controller._machine):
        cached.cache_clear()
    try:
        mine = controller.this_run().controller
        assert len(mine.split()) == 4 and not controller.has_ended(mine)
        machine, boot, _, began = mine.split()
        assert controller.has_ended(f"{machine} {boot} 4194303 {began}")
    finally:
        for cached in (controller.this_run, controller._machine):
            cached.cache_clear()


def test_who_is_in_the_way_is_told_with_what_to_do() -> None:
    claim = Claim(
        "a", "bob@desk, process 7", "2026-11-28 10:00:00 UTC", "m b 7 8", "812", True, False
    )
    assert "bob@desk, process 7, since 2026-11-28 10:00:00 UTC" in in_the_way(claim, is_here=True)
    assert "it runs on this machine" in in_the_way(claim, is_here=True)
    assert "`kill 812` on the host" in in_the_way(claim, is_here=False)
