"""Verification as tests: what a machine was found to be, asked once, and which tests its plan foresees.

    pytest tests/verify --inventory inventory/prod.yml [--hosts gpu01,gpu02] [--quick] [-k chat]

Collecting reads the inventory alone. Machines of the tests that are chosen are asked all at once when
the first of them runs; with several workers (pytest-xdist) the first asks for all of them.
"""

import difflib
import fcntl
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.checks.foreseen import Foreseen, foreseen
from ollama_fleet.checks.machine import Machine, answering_s, first_questions, found, last_questions
from ollama_fleet.checks.outcome import HostOutcome, Mode
from ollama_fleet.questions import Answers
from tests.verify.asking import ask

AT_ONCE = 20
MACHINES = pytest.StashKey[list[Machine]]()
ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fleet")
    group.addoption("--inventory", type=Path, help="the fleet: a file such as inventory/prod.yml")
    group.addoption("--quick", action="store_true", help="generate nothing: over in a moment")


def pytest_sessionstart(session: pytest.Session) -> None:
    """A fleet that cannot be read is said before anything is collected."""
    machines(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Workers are told what the fleet is; only the first process reads the inventory."""
    node.workerinput["machines"] = pickle.dumps(machines(node.config))


def mode_of(config: pytest.Config) -> Mode:
    return "quick" if config.getoption("quick") else "full"


def machines(config: pytest.Config) -> list[Machine]:
    """Machines that are to be verified, as the inventory and --hosts say."""
    if MACHINES not in config.stash:
        told = getattr(config, "workerinput", {}).get("machines")
        config.stash[MACHINES] = pickle.loads(told) if told else _chosen(config, _read(config))
    return config.stash[MACHINES]


def _read(config: pytest.Config) -> list[Machine]:
    """In a process of its own: pyinfra changes the standard library for itself."""
    inventory = config.getoption("inventory", None)
    if inventory is None:
        raise pytest.UsageError("which fleet? add --inventory inventory/prod.yml")
    path = Path(config.invocation_params.dir, inventory)
    command = [sys.executable, "-m", "ollama_fleet.host.machines", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode:
        raise pytest.UsageError(done.stderr.decode(errors="replace").strip())
    read: list[Machine] = pickle.loads(done.stdout)
    return [machine for machine in read if machine.roles]


def _chosen(config: pytest.Config, every: Sequence[Machine]) -> list[Machine]:
    asked = [name for name in (config.getoption("hosts") or "").split(",") if name]
    names = [machine.name for machine in every]
    for name in asked:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
            raise pytest.UsageError(f"--hosts {name}: no such machine; nearest: {', '.join(near)}")
    return [machine for machine in every if not asked or machine.name in asked]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "expected" in metafunc.fixturenames:
        mode = mode_of(metafunc.config)
        cases = [one for machine in machines(metafunc.config) for one in foreseen(machine, mode)]
        metafunc.parametrize("expected", cases, ids=_id)
    elif "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", machines(metafunc.config), ids=lambda one: one.name)


def _id(one: Foreseen) -> str:
    return f"{one.machine}-{one.subject}-{one.check}".replace(" ", "-")


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, HostOutcome]:
    """What every machine of the chosen tests was found to be, by name."""
    config = request.config
    wanted = {_machine_of(item) for item in request.session.items}
    asked = [machine for machine in machines(config) if machine.name in wanted]
    # Not by PYTEST_XDIST_WORKER: a suite that a worker of other tests starts inherits it, and would take
    # what an earlier run has kept for its own.
    if not hasattr(config, "workerinput"):
        return verified(asked, mode_of(config))
    kept = tmp_path_factory.getbasetemp().parent / "verified"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(verified(asked, mode_of(config))))
    kept_outcomes: dict[str, HostOutcome] = pickle.loads(kept.read_bytes())
    return kept_outcomes


def _machine_of(item: pytest.Item) -> str:
    parameters = item.callspec.params if isinstance(item, pytest.Function) else {}
    one = parameters.get("expected") or parameters.get("machine")
    return getattr(one, "machine", None) or getattr(one, "name", "")


def _asked(
    one: Machine, mode: Mode, questions: Callable[[Machine, Mode], dict[str, str]]
) -> Answers | str:
    return ask(one, questions(one, mode), answering_s(one, mode))


def verified(asked: Sequence[Machine], mode: Mode) -> dict[str, HostOutcome]:
    """Ask machines, all at once; gateways when their hosts have answered."""
    gateways = [machine for machine in asked if machine.gateway or machine.monitor]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        first = list(pool.map(lambda one: _asked(one, mode, first_questions), asked))
        answers = pool.map(lambda one: _asked(one, mode, last_questions), gateways)
        last = dict(zip([machine.name for machine in gateways], answers, strict=True))
    return {
        machine.name: found(machine, mode, said, last.get(machine.name, {}))
        for machine, said in zip(asked, first, strict=True)
    }
