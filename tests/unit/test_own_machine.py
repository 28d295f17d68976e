"""Gateways, mirrors and monitors on machines of their own are asked for room and a clock; once, and in the
round in which they are asked anyway."""

from dataclasses import replace

import pytest

from ollama_fleet.checks.foreseen import foreseen
from ollama_fleet.checks.machine import Machine, first_questions, found, last_questions
from ollama_fleet.checks.metrics import QUESTION
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.planner.monitor import monitors_of
from ollama_fleet.planner.monitoring import monitored_machines
from ollama_fleet.planner.plan import Removal
from ollama_fleet.questions import Answer
from tests.deploy.converged import MIRROR, OWN
from tests.unit.gateways import gateways
from tests.unit.monitored import fleet as monitored
from tests.unit.test_checks import PLAN

GATEWAY = gateways()["gw1"]
MONITOR = monitors_of(monitored())["mon1"]
MACHINES = {
    "mirror": Machine("one", mirror=MIRROR),
    "gateway": Machine("one", gateway=GATEWAY),
    "monitor": Machine("one", monitor=MONITOR),
    "mirror and gateway": Machine("one", mirror=MIRROR, gateway=GATEWAY),
    "gateway and monitor": Machine("one", gateway=GATEWAY, monitor=MONITOR),
    "gateway, host no more": Machine("one", replace(PLAN, removal=Removal()), GATEWAY),
}
TELLERS = {
    "mirror": "mirror depot",
    "gateway": "gateway gw1",
    "monitor": "monitor mon1",
    "mirror and gateway": "mirror depot",
    "gateway and monitor": "gateway gw1",
    "gateway, host no more": "gateway gw1",
}
GIB = 2**18


def told(machine: Machine, **changes: str) -> list[CheckResult]:
    """What is said of room and clock where the machine answers nothing else (names with _ for space)."""
    said = {**OWN, **{name.replace("_", " "): text for name, text in changes.items()}}
    first, last = (
        {name: Answer(said.get(name, "")) for name in ask(machine, "full")}
        for ask in (first_questions, last_questions)
    )
    outcome = found(machine, "full", first, last)
    assert not outcome.error
    return [one for one in outcome.results if one.check in ("disk", "clock")]


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_without_slices_is_asked_once_and_told_of_by_one_of_its_parts(name: str) -> None:
    machine = MACHINES[name]
    rounds = [first_questions(machine, "full"), last_questions(machine, "full")]
    assert sum("clock" in one for one in rounds) == sum("clock end" in one for one in rounds) == 1
    (asked,) = [list(one) for one in rounds if "clock" in one]
    assert (asked[0], asked[-1]) == ("clock", "clock end"), "nothing that takes time is around them"
    results = told(machine)
    assert [(one.subject, one.check, one.status) for one in results] == [
        (TELLERS[name], "disk", "ok"),
        (TELLERS[name], "clock", "ok"),
    ]


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("mode", ["full", "quick"])
def test_both_are_foreseen(name: str, mode: str) -> None:
    names = [(one.subject, one.check) for one in foreseen(MACHINES[name], mode)]  # type: ignore[arg-type]
    own = [one for one in names if one[1] in ("disk", "clock")]
    assert own == [(TELLERS[name], "disk"), (TELLERS[name], "clock")]


def test_who_has_nothing_else_to_say_in_a_round_is_not_asked_in_it() -> None:
    """Each round is an exec."""
    assert first_questions(MACHINES["gateway"], "full") == {}
    assert first_questions(MACHINES["monitor"], "full") == {}
    assert last_questions(MACHINES["mirror"], "full") == {}


def test_a_host_with_slices_is_asked_by_its_own_checks_alone() -> None:
    every = Machine("one", PLAN, GATEWAY, MIRROR, monitor=MONITOR)
    assert "clock" in first_questions(every, "full")
    assert not {"clock", "clock end", "file systems"} & last_questions(every, "full").keys()
    own = [one.subject for one in foreseen(every, "full") if one.check in ("disk", "clock")]
    assert own == ["host", "host"]


@pytest.mark.parametrize("name", MACHINES)
def test_a_full_disk_fails_with_where_it_is(name: str) -> None:
    text = f"ab 4096 {10 * GIB} {5 * GIB} 0 0 /\ncd 4096 {10 * GIB} 99 0 0 /var/log"
    disk, clock = told(MACHINES[name], file_systems=text)
    assert disk.failed and disk.found == "0 MiB free at /var/log" and not clock.failed
    assert disk.remedy.startswith("make room: ") and "models" not in disk.remedy


def test_of_a_monitor_the_disk_of_what_it_has_seen_counts() -> None:
    for name in ("monitor", "gateway and monitor"):
        asked = last_questions(MACHINES[name], "full")["file systems"]
        assert " / /var/log /var/lib/ollama-monitor " in asked
    text = f"ab 4096 {10 * GIB} {GIB} 0 0 /var/lib/ollama-monitor"
    (disk, _) = told(MACHINES["monitor"], file_systems=text)
    assert disk.status == "warning" and "retention_gib" in disk.remedy


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(
    ("text", "programs", "status", "words"),
    [
        ("1000\n600\ncontainer", "", "failed", "400 s behind this machine's; "),
        ("1000\n980\ncontainer", "", "warning", "20 s behind this machine's; "),
        ("1000\n1000", "", "warning", "as this machine; nothing sets it"),
        ("1000\n1000", "/proc/7/comm:ntpd", "ok", "as this machine; set by ntpd"),
    ],
)
def test_a_clock_that_is_off_fails_and_one_that_nobody_sets_is_worth_a_look(
    name: str, text: str, programs: str, status: str, words: str
) -> None:
    disk, clock = told(MACHINES[name], clock=text, programs=programs)
    assert (clock.status, disk.status) == (status, "ok") and clock.found.startswith(words)


def test_what_a_gateways_own_machine_shows_to_monitors_is_asked_by_every_runner() -> None:
    machine = replace(MACHINES["gateway"], shown=monitored_machines(monitored())["gw1"])
    asked = last_questions(machine, "full")
    assert QUESTION in asked and first_questions(machine, "full") == {}
    said = {name: Answer(OWN.get(name, "")) for name in asked}
    results = found(machine, "full", {}, said).results
    told_of = [(one.subject, one.check, one.status) for one in results]
    for check in ("metrics", "certificate for monitors"):
        assert told_of.count(("gateway gw1", check, "failed")) == 1
        names = [(one.subject, one.check) for one in foreseen(machine, "quick")]
        assert names.count(("gateway gw1", check)) == 1
    assert not {"metrics", "certificate for monitors"} & {
        one.check for one in foreseen(MACHINES["gateway"], "full")
    }
