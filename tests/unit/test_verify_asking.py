"""The suite's way to ask: machines that hang or say what is no text, inventories that print, other suites."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

from ollama_fleet.checks.machine import Machine
from tests.unit.test_connected import HERE, ROOT, inventory
from tests.verify.asking import ask

LOCAL = Machine("here", local=True)


def test_a_machine_that_hangs_is_not_waited_for_for_ever() -> None:
    started = time.monotonic()
    said = ask(LOCAL, {"a": "exec 0<&1; sleep 60"}, 1)
    assert said == "no answer within 1 s; does `nvidia-smi` hang there?"
    assert time.monotonic() - started < 20


def test_what_is_no_text_does_not_hide_the_rest() -> None:
    said = ask(LOCAL, {"a": r"printf '\377\205\036x\n'", "b": "echo b"}, 20)
    assert not isinstance(said, str)
    assert said["b"].text == "b"
    assert said["a"].text.endswith("x")


def test_an_inventory_that_prints_is_read_all_the_same(tmp_path: Path) -> None:
    path = inventory(tmp_path, f"gpu01: {{{HERE}}}")
    script = path.with_suffix(".py")
    script.write_text('print("hello")\n' + script.read_text())
    command = [sys.executable, "-m", "ollama_fleet.host.machines", str(path)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert [machine.name for machine in pickle.loads(done.stdout)] == ["gpu01"]


def test_a_suite_that_a_worker_of_other_tests_starts_does_not_take_what_an_earlier_one_kept(
    tmp_path: Path,
) -> None:
    away = "gpu01: {address: 127.0.0.1, ssh: {port: 1}, gpus: [{model: RTX 3090}], slices: []}"
    path = inventory(tmp_path, away)
    (tmp_path / "verified").write_bytes(pickle.dumps({}))
    command = [sys.executable, "-m", "pytest", "tests/verify", "--inventory", str(path), "--quick"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"), "-k", "all_else"]
    worker = {**os.environ, "PYTEST_XDIST_WORKER": "gw0"}
    done = subprocess.run(command, env=worker, capture_output=True, text=True, cwd=ROOT)
    assert "gpu01: cannot be reached" in done.stdout and "KeyError" not in done.stdout
