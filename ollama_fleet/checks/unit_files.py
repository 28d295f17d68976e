"""What systemd makes of our units, beside the files that we wrote: drop-ins of others, masks, and units
that run with an older text than the one on the disk.

A drop-in that is to stay says so itself, by KEEP.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.seen_units import INVOCATION, KEEP, Seen, UnitFiles, question, read_seen
from ollama_fleet.checks.shown_units import SHOWN, planned_units
from ollama_fleet.checks.units import OWN_DROP_INS
from ollama_fleet.checks.wording import listed, plain
from ollama_fleet.gateway.places import (
    ADDRESS_CHECK_UNIT,
    ADDRESS_UNIT,
    BALANCER_UNIT,
    GATEWAY_UNIT,
    HOP_UNIT,
)
from ollama_fleet.monitor import places as monitor
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.templating import UNIT_DIR
from ollama_fleet.watching.places import HEALTH_UNIT, WATCHDOG_UNIT

HOST = "host"
# Proved with the gateway, or the monitor, that a host has on it.
OF_GATEWAY = (GATEWAY_UNIT, BALANCER_UNIT, ADDRESS_UNIT, ADDRESS_CHECK_UNIT)
OF_MONITOR = (monitor.UNIT, monitor.DOOR_UNIT)
UNITS = "drift.units"
# The distribution's own, for every unit there is.
_OF_VENDOR = re.compile(r"(/usr(/local)?)?/lib/systemd/system/[a-z]+\.d/")
# An administrator's, for every unit there is.
_OF_ALL = re.compile(r"/(etc|run)/systemd/[^/]+/[a-z]+\.d/")


@dataclass(frozen=True)
class Finding:
    """What is said of one subject; the names are those of `Subject.result`."""

    where: str
    expected: str
    found: str
    remedy: str = ""
    good: bool = False
    warns: bool = False


def foreign_drop_ins(unit: UnitFiles, seen: Seen) -> list[str]:
    """Those that are neither ours, nor the distribution's for all units, nor meant to stay."""
    own = {path.format(unit=unit.name) for path in OWN_DROP_INS}
    return [
        path
        for path in unit.drop_ins
        if path not in own | seen.kept
        and not _OF_VENDOR.match(path)
        and not (path in seen.marked and path.startswith(f"{UNIT_DIR}/ollama-"))
    ]


def troubles(unit: UnitFiles, seen: Seen, restarts: bool) -> Iterator[tuple[str, str]]:
    """What systemd runs other than what lies on the disk, each with what to do. `restarts`: a deploy that
    changes the unit's file also starts it anew."""
    name = unit.name
    if unit.load == "masked":
        yield f"{name} is masked", f"`systemctl unmask {name}`, then deploy again"
        return
    if unit.load in ("error", "bad-setting"):
        yield f"systemd cannot read {name}", f"see `systemctl status {name}`"
    if unit.fragment and unit.fragment != f"{UNIT_DIR}/{name}":
        path = plain(unit.fragment)
        yield f"{name} comes from {path}", f"remove {path}, `systemctl daemon-reload`"
    if unit.needs_reload:
        words = f"systemd has not read the files of {name} since they were changed"
        yield words, "`systemctl daemon-reload`"
    for path in unit.files:
        if path not in seen.times_s:
            yield f"{name} needs {plain(path)}, which is not there", f"bring {plain(path)} back"
    for path in (*([unit.fragment] if restarts else []), *unit.files):
        if _is_newer(path, unit, seen):
            words = f"{name} was started before {plain(path)} was changed"
            yield words, f"`systemctl restart {name}`"


def _is_newer(path: str, unit: UnitFiles, seen: Seen) -> bool:
    """Whether a file was changed after its unit was started; False where either is unknown."""
    changed = seen.times_s.get(path)
    started = seen.times_s.get(f"{INVOCATION}{unit.name}")
    if unit.active != "active" or changed is None or started is None:
        return False
    return changed > started


Units = Iterable[tuple[str, UnitFiles]]


def drop_in_findings(units: Units, seen: Seen, whole: str) -> Iterator[Finding]:
    """Drop-ins of others over units, each of which stands beside the subject that it belongs to. One that is
    for several is told once, of the `whole`; of that there is always a finding."""
    over: dict[str, dict[str, str]] = {}
    for where, unit in units:
        for path in foreign_drop_ins(unit, seen):
            over.setdefault(path, {})[unit.name] = where
    told = set()
    for path, names in over.items():
        places = set(names.values())
        where = places.pop() if len(places) == 1 else whole
        told.add(where)
        found = plain(path) + (f", over {len(names)} units" if len(names) > 1 else "")
        remedy = _drop_in_remedy(list(names))
        yield Finding(where, "none but ours", found, remedy, warns=bool(_OF_ALL.match(path)))
    if whole not in told:
        kept = f"; {listed(sorted(map(plain, seen.kept)))} may stay" if seen.kept else ""
        others = " over its other units" if told else ""
        yield Finding(whole, "none but ours", f"none but ours{others}{kept}", good=True)


def _drop_in_remedy(units: list[str]) -> str:
    restart = f"`systemctl restart {units[0]}`" if len(units) == 1 else "restart those units"
    return (
        f"`systemctl cat {units[0]}` shows what it changes; remove it, `systemctl daemon-reload`, {restart}; "
        f"one that is to stay says so in a line `# {KEEP}: REASON`"
    )


def trouble_findings(
    units: Units, seen: Seen, whole: str, restarted: Collection[str]
) -> Iterator[Finding]:
    """What each subject's units run with other than their files; one result for a subject, and always one
    for the `whole`."""
    of: dict[str, list[tuple[str, str]]] = {whole: []}
    well = 0
    for where, unit in units:
        found = list(troubles(unit, seen, unit.name in restarted))
        of.setdefault(where, []).extend(found)
        well += not found
    expected = "systemd runs what lies on the disk"
    for where, found in of.items():
        if found:
            words, remedies = zip(*found, strict=True)
            yield Finding(where, expected, listed(words), ", ".join(dict.fromkeys(remedies)))
    if not of[whole]:
        yield Finding(whole, expected, f"{well} units run as their files say", good=True)


def _questions(plan: HostPlan) -> dict[str, str]:
    return {UNITS: question(f"cat {SHOWN} 2>/dev/null")}


def _ours(subject: Subject) -> tuple[Seen, list[tuple[str, UnitFiles]]]:
    """What was seen, and every unit of ours with the subject that it belongs to."""
    seen = read_seen(subject.text(UNITS))
    slices = {item.unit: item.name for item in subject.plan.slices}
    slices |= {item.warm_unit: item.name for item in subject.plan.slices}
    hop = subject.plan.hop
    of_gateway = OF_GATEWAY if hop and hop.is_gateway else ()
    others = (*of_gateway, *(OF_MONITOR if subject.plan.is_monitor else ()))
    ours = [(name, unit) for name, unit in seen.units.items() if name not in others]
    return seen, [(slices.get(name, HOST), unit) for name, unit in ours]


def _drop_ins(subject: Subject) -> Iterator[CheckResult]:
    if UNITS in subject.answers:
        seen, units = _ours(subject)
        for one in drop_in_findings(units, seen, HOST):
            words = (one.expected, one.found, one.remedy)
            yield subject.result(one.where, "drop-ins", one.good, *words, warns=one.warns)


def _in_force(subject: Subject) -> Iterator[CheckResult]:
    if UNITS not in subject.answers:
        return
    seen, units = _ours(subject)
    restarted = {*(item.unit for item in subject.plan.slices), HOP_UNIT, HEALTH_UNIT, WATCHDOG_UNIT}
    planned = set(planned_units(subject.plan))
    ours = [(where, unit) for where, unit in units if unit.name in planned]
    for one in trouble_findings(ours, seen, HOST, restarted):
        words = (one.expected, one.found, one.remedy)
        yield subject.result(one.where, "in force", one.good, *words)


CHECKS = (Check("drop-ins", _drop_ins, _questions), Check("in force", _in_force))
