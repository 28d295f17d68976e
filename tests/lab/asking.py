"""What the checks say of lab hosts, gateways and mirrors right now, without a deploy: for tests that break
something and look whether it is found.
"""

import runpy
from dataclasses import replace
from typing import Any

from ollama_fleet.checks.machine import Machine, first_questions, found, last_questions
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import Mode
from ollama_fleet.cli.ask_host import Login, ask
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from ollama_fleet.questions import Answers
from ollama_fleet.release.wanted import wanted_release
from tests.lab.fleet import ROOT, Fleet

Found = dict[tuple[str, str], CheckResult]


def of_host(fleet: Fleet, host: str) -> Found:
    """Results of a host's checks that are not well, by subject and check."""
    data = runpy.run_path(str(ROOT / "group_data/all.py")) | _data(fleet, host)
    plan = data["plan"]
    release = wanted_release(data.get, mig=bool(plan.mig))
    return _bad(fleet, Machine(host, plan=replace(plan, release=release)))


def of_gateway(fleet: Fleet, machine: str, mode: Mode = "full") -> Found:
    """The same of a gateway, as a deploy proves it."""
    return _bad(fleet, Machine(machine, gateway=_data(fleet, machine)["gateway_plan"]), mode)


def of_mirror(fleet: Fleet, machine: str) -> Found:
    """The same of a mirror."""
    return _bad(fleet, Machine(machine, mirror=_data(fleet, machine)["mirror_plan"]))


def _data(fleet: Fleet, machine: str) -> dict[str, Any]:
    """What a deploy is told of a machine, by the inventory."""
    path = fleet.inventory.with_suffix(".yml")
    known: dict[str, Any] = dict(fleet_hosts(load_fleet(path), path))
    return dict(known[machine])


def _bad(fleet: Fleet, machine: Machine, mode: Mode = "full") -> Found:
    first = _answers(fleet, machine.name, first_questions(machine, mode))
    last = _answers(fleet, machine.name, last_questions(machine, mode))
    outcome = found(machine, mode, first, last)
    assert not outcome.error, outcome.error
    bad = (result for result in outcome.results if result.status != "ok")
    return {(result.subject, result.check): result for result in bad}


def _answers(fleet: Fleet, machine: str, questions: dict[str, str]) -> Answers:
    if not questions:
        return {}
    ssh = fleet.lab.paths.root / "ssh"
    address = fleet.lab.address(machine)
    return ask(Login(address, "root", None, ssh / "id_ed25519", ssh / "known_hosts"), questions)
