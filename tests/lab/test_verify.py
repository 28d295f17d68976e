"""`fleet verify` and `pytest tests/verify` on a fleet that serves: they change nothing, find what is wrong
and say it in every form; a deploy in which hosts fail finishes the others and says who failed and why."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, ROOT, Fleet

# One slice lets its model go, one keeps it: verifying changes neither.
CHAT = {
    **{"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]},
    **{"keep_alive": "5m", "preload": False},
}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen3:0.6b"]}
SMALL = {"name": "small", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]}
GENERATE = """curl -fsS 127.0.0.1:11434/api/generate -d '{"model": "qwen3:0.6b"%s}'"""
PS = "curl -s 127.0.0.1:11434/api/ps"
# What a login itself writes is none of ours, and the host's own watch writes all the time.
SNAPSHOT = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /var/log \) -prune -o -type f \
    -printf '%p %s %T@ %m %U\n' |
    grep -vE '^/(var/lib/systemd|var/lib/ollama/watchdog|var/lib/ollama/metrics)/' | sort
find /run /etc /dev/shm -printf '%p %s %T@ %m %U\n' |
    grep -vE '^/run |^/run/(user|log|systemd|motd|utmp|udev|ollama-fleet |ollama-(health|watchdog))' |
    sort
find /run/ollama-fleet -mindepth 1 -printf '%p %T@\n'
systemctl list-units --all --no-legend --plain 'ollama*' | sort
systemctl show -p Id,MainPID,NRestarts,ActiveEnterTimestamp,UnitFileState 'ollama*'
"""


@pytest.fixture(scope="module")
def serving(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Two hosts that serve."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "vf1", "2x-rtx3090"), CHAT, CODE)
    fleet.add(bare(lab, "vf2", "1x-rtx3060"), SMALL)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


def verify(fleet: Fleet, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [str(BIN / "fleet"), "verify", str(fleet.inventory.with_suffix(".yml")), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)


def document(fleet: Fleet, *options: str) -> Any:
    return json.loads(verify(fleet, "--json", *options).stdout)


def failures(found: Any) -> list[tuple[str, str, str]]:
    return [
        (host["host"], result["subject"], result["check"])
        for host in found["hosts"]
        for result in host["results"]
        if result["status"] == "failed"
    ]


def suite(fleet: Fleet, *options: str) -> tuple[int, dict[str, str], str]:
    """The suite's exit code, its tests by name with how they ended, and what it said."""
    xml = fleet.folder / "suite.xml"
    command = [sys.executable, "-m", "pytest", "tests/verify", "--inventory", str(fleet.inventory)]
    done = subprocess.run(
        [*command, "--junitxml", str(xml), "-p", "no:cacheprovider", *options],
        **{"capture_output": True, "text": True, "cwd": ROOT, "timeout": 200},
    )
    cases = ElementTree.parse(xml).iter("testcase") if xml.exists() else []
    ended = {case.attrib["name"]: next((part.tag for part in case), "passed") for case in cases}
    return done.returncode, ended, done.stdout + done.stderr


def logins(fleet: Fleet, host: str) -> int:
    """How often root has logged in, this time included."""
    counted = "journalctl --sync; journalctl -t sshd | grep -c 'Accepted publickey'"
    return int(fleet.sh(host, counted))


@contextmanager
def disabled(fleet: Fleet) -> Iterator[None]:
    """One thing wrong on one host."""
    fleet.sh("vf2", "systemctl disable ollama-small.service")
    try:
        yield
    finally:
        fleet.sh("vf2", "systemctl enable ollama-small.service")


def test_verifying_changes_nothing_on_a_host(serving: Fleet) -> None:
    serving.sh("vf1", GENERATE % "")
    before = serving.sh("vf1", SNAPSHOT)
    left = [
        (verify(serving, mode).returncode, serving.sh("vf1", PS)) for mode in ("--full", "--quick")
    ]
    assert serving.sh("vf1", SNAPSHOT) == before
    assert [code for code, _ in left] == [0, 0]
    expires = json.loads(left[0][1])["models"][0]["expires_at"]
    minutes = serving.sh("vf1", f"echo $((($(date -d {expires} +%s) - $(date +%s)) / 60))")
    assert minutes in ("4", "5"), "the model goes when it was planned to"


def test_a_slice_without_its_model_has_none_afterwards(serving: Fleet) -> None:
    unload = (
        """curl -s 127.0.0.1:11434/api/generate -d '{"model": "qwen3:0.6b", "keep_alive": 0}'"""
    )
    serving.sh("vf1", unload)
    found = document(serving, "--host", "vf1")
    assert failures(found) == []
    assert json.loads(serving.sh("vf1", PS)) == {"models": []}


def test_a_quick_look_takes_a_moment_and_generates_nothing(serving: Fleet) -> None:
    before = logins(serving, "vf1")
    found = document(serving, "--quick")
    assert logins(serving, "vf1") - before == 2, "one for the questions, one for counting"
    assert failures(found) == [] and found["mode"] == "quick"
    # How quick it can be: the machine may be busy with others at one moment.
    others = (document(serving, "--quick")["seconds"] for _ in range(4))
    assert found["seconds"] < 2 or any(seconds < 2 for seconds in others)
    checks = {result["check"] for host in found["hosts"] for result in host["results"]}
    assert "inference" not in checks and {"unit", "isolation", "models"} <= checks


def test_a_user_with_sudo_sees_the_same(serving: Fleet) -> None:
    as_root = document(serving, "--quick", "--host", "vf1")
    serving.user = "operator"
    try:
        as_operator = document(serving, "--quick", "--host", "vf1")
        code, ended, said = suite(serving, "--hosts", "vf1", "--quick")
    finally:
        serving.user = "root"
    assert failures(as_operator) == []
    assert as_operator["summary"] == as_root["summary"]
    assert code == 0 and "failure" not in ended.values(), said


def test_what_is_wrong_is_said_in_every_form(serving: Fleet, tmp_path: Path) -> None:
    forms = {
        form: tmp_path / f"report.{form}" for form in ("junit", "ctrf", "sarif", "html", "svg")
    }
    options = [word for form, path in forms.items() for word in (f"--{form}", str(path))]
    with disabled(serving):
        done = verify(serving, *options)
    assert done.returncode == 1
    assert "vf2 small: unit failed" in done.stdout and "deploy again" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    for path in forms.values():
        assert "vf2" in path.read_text(encoding="utf-8"), path
    runs = sorted((serving.folder / ".fleet/runs/test").glob("*.json"))
    assert failures(json.loads(runs[-1].read_text())) == [("vf2", "small", "unit")]


def test_the_suite_asks_each_host_once_and_passes_on_a_good_fleet(serving: Fleet) -> None:
    before = logins(serving, "vf2")
    code, ended, said = suite(serving, "-n", "2")
    assert code == 0, said
    assert logins(serving, "vf2") - before == 2
    assert ended["test_check[vf1-chat-isolation]"] == "passed"
    assert ended["test_all_else[vf2]"] == "passed"
    assert "failure" not in ended.values()


def test_the_suite_fails_exactly_where_something_is_wrong(serving: Fleet) -> None:
    with disabled(serving):
        code, ended, said = suite(serving)
        listed = verify(serving, "--check", "unit", "--json")
    assert code == 1
    assert [name for name, end in ended.items() if end == "failure"] == [
        "test_check[vf2-small-unit]"
    ]
    assert "found:    active, disabled" in said and "Traceback" not in said
    assert failures(json.loads(listed.stdout)) == [("vf2", "small", "unit")]
    assert listed.returncode == 1


def test_who_deploys_meanwhile_is_a_warning(serving: Fleet) -> None:
    owner = "/run/ollama-fleet/owner"
    began = "$(set -- $(sed 's/.*) //' /proc/1/stat); echo ${20})"
    claim = f"'run x' 'who anna@desk' 'since today' 'controller far boot 1 1' \"carrier 1 {began}\""
    serving.sh("vf1", f"cp {owner} /root/owner; printf '%s\\n' {claim} >{owner}")
    try:
        done = verify(serving, "--quick")
    finally:
        serving.sh("vf1", f"mv /root/owner {owner}")
    assert done.returncode == 0, done.stdout
    assert "deploy under way is worth a look" in done.stdout
    assert "anna@desk deploys to it, since today" in done.stdout


def asked(fleet: Fleet, host: str) -> bool:
    """Whether a verification has its questions there just now."""
    return fleet.lab.ssh(host, "ls -d /run/ollama-fleet/verify.*").returncode == 0


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(serving: Fleet) -> None:
    serving.lab.fault("vf2", "ollama-hung")
    try:
        command = [str(BIN / "fleet"), "verify", str(serving.inventory)]
        running = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background has it ignored, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        # Both are asked; then one has answered, and the slice that hangs is waited for.
        for host, is_asked in (("vf2", True), ("vf1", False)):
            ends = time.monotonic() + 90
            while asked(serving, host) is not is_asked:
                assert running.poll() is None and time.monotonic() < ends
                time.sleep(0.5)
        time.sleep(2)
        assert running.poll() is None, "a slice that hangs is waited for"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    finally:
        serving.lab.clear("vf2", "ollama-hung")
    assert running.returncode == 130
    assert said.strip().splitlines()[-1] == "Interrupted. Nothing was changed."
    assert "Traceback" not in said
    serving.sh("vf2", "systemctl restart ollama.target; sleep 3")
    serving.sh("vf2", "timeout 60 sh -c 'while ls /run/ollama-fleet/verify.* ; do sleep 1; done'")


def test_hosts_that_fail_do_not_hold_up_the_others(serving: Fleet, tmp_path: Path) -> None:
    """One is changed, one has other GPUs than the inventory says, one does not answer."""
    serving.add("vf1", {**CHAT, "keep_alive": "6m"}, CODE)
    fleet = Fleet(tmp_path, serving.lab, dict(serving.hosts))
    fleet.add("vf2", SMALL, gpus=[{"model": "RTX 3060", "count": 4}])
    away = {"address": "10.77.0.250", "slices": [SMALL], "gpus": [{"model": "RTX 3060"}]}
    fleet.hosts["vf3"] = away
    run = fleet.deploy("--data", f"report={tmp_path / 'reports'}")
    assert run.code == 1
    said = re.sub(r"\s+", " ", run.text.partition("2 of 3 machines failed:")[2])
    assert "vf2: Preflight | Check what the host has: the inventory expects GPUs" in said
    assert "vf3: cannot be reached: Could not connect" in said
    found = json.loads((tmp_path / "reports/verification.json").read_text())
    errors = {host["host"]: bool(host["error"]) for host in found["hosts"]}
    assert errors == {"vf1": False, "vf2": True, "vf3": True}
    assert failures(found) == []
    running = "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value ollama-chat)/environ"
    assert "OLLAMA_KEEP_ALIVE=6m" in serving.sh("vf1", running).split()
    for name in ("junit.xml", "ctrf.json", "report.html"):
        assert "vf3" in (tmp_path / "reports" / name).read_text()


def test_a_machine_that_is_away_fails_the_verification_and_not_the_others(
    serving: Fleet, tmp_path: Path
) -> None:
    fleet = Fleet(tmp_path, serving.lab, dict(serving.hosts))
    away = {"address": "10.77.0.250", "slices": [SMALL], "gpus": [{"model": "RTX 3060"}]}
    fleet.hosts["vf3"] = away
    done = verify(fleet, "--quick")
    assert done.returncode == 1
    assert "vf3: cannot be reached" in done.stdout
    code, ended, said = suite(fleet, "--hosts", "vf1,vf3", "--quick")
    assert code == 1 and "vf3: cannot be reached" in said
    failed = [name for name, end in ended.items() if end == "failure"]
    assert failed and all("vf3" in name for name in failed)
    assert {end for name, end in ended.items() if "vf3" in name} == {"failure"}


def test_collecting_the_suite_needs_no_host(tmp_path: Path, lab: Lab) -> None:
    fleet = Fleet(tmp_path, lab)
    fleet.hosts["far"] = {"address": "192.0.2.1", "slices": [CHAT, CODE]}
    code, _, said = suite(fleet, "--collect-only", "-q")
    assert code == 0 and "test_check[far-chat-isolation]" in said
