"""The slices' units: running and enabled, not started again and again, with the planned environment in the
live process and the sandbox in force."""

import re
from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.shown_units import TABLE, show_units
from ollama_fleet.mig.layout import DROP_IN, DROP_INS
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.warm import DROP_IN as WARM_DROP_IN

STOCK = "ollama.service"
VISIBLE = "CUDA_VISIBLE_DEVICES"
OWN_DROP_INS = (
    "/etc/systemd/system/{unit}.d/10-order.conf",
    f"/etc/systemd/system/{{unit}}.d/{WARM_DROP_IN}",
    f"{DROP_INS}/{{unit}}.d/{DROP_IN}",
)
# Properties as systemd prints them when the unit is in force as we wrote it.
HARDENING = {
    "DevicePolicy": "closed",
    "IPAddressAllow": "127.0.0.0/8 ::1/128",
    "IPAddressDeny": "0.0.0.0/0 ::/0",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "MemoryDenyWriteExecute": "yes",
    "CapabilityBoundingSet": "",
    "User": "ollama",
}
PROPERTIES = (
    *("Id", "ActiveState", "UnitFileState", "MainPID", "ControlGroup", "DropInPaths", "NRestarts"),
)
# One crash happens; this many since somebody started it are a pattern.
OFTEN = 3


def unit_questions(plan: HostPlan) -> dict[str, str]:
    """State of every unit; what later questions need of it is kept."""
    return {"units": show_units(plan, STOCK, (*PROPERTIES, *HARDENING))}


def unit_states(subject: Subject) -> dict[str, dict[str, str]]:
    """Unit to its properties."""
    blocks = subject.text("units").split("\n\n")
    rows = [dict(ln.split("=", 1) for ln in block.splitlines() if "=" in ln) for block in blocks]
    return {row["Id"]: row for row in rows if "Id" in row}


def _active(subject: Subject) -> Iterator[CheckResult]:
    states = unit_states(subject)
    for item in subject.slices:
        state = states.get(item.plan.unit, {})
        found = f"{state.get('ActiveState', '?')}, {state.get('UnitFileState') or 'not installed'}"
        yield subject.result(
            item.plan.name,
            "unit",
            good=found == "active, enabled",
            expected="active, enabled",
            found=found,
            remedy=f"see `journalctl -u {item.plan.unit}`, then deploy again",
        )
    stock = states.get(STOCK, {})
    yield subject.result(
        "host",
        "stock unit",
        good=stock.get("ActiveState", "inactive") in ("inactive", "failed"),
        expected=f"{STOCK} is not running",
        found=stock.get("ActiveState", "inactive"),
        remedy=f"deploy again, or `systemctl disable --now {STOCK}`: it would take every GPU",
    )


def _restarts(subject: Subject) -> Iterator[CheckResult]:
    """How often systemd had to start it since somebody did."""
    states = unit_states(subject)
    for item in subject.slices:
        count = states.get(item.plan.unit, {}).get("NRestarts", "")
        if not count.isdigit():
            continue  # an older systemd does not count
        yield subject.result(
            item.plan.name,
            "restarts",
            good=int(count) < OFTEN,
            expected=f"fewer than {OFTEN} by systemd since it was started",
            found=f"{count} by systemd since it was started",
            remedy=f"`journalctl -u {item.plan.unit}` says why it ended; `systemctl restart` counts anew",
            warns=True,
        )


def _environment_questions(plan: HostPlan) -> dict[str, str]:
    """One grep for all slices; only planned names are printed, for an env_file may hold secrets."""
    names = sorted({name for item in plan.slices for name in [*item.environment, VISIBLE]})
    return {
        "environments": f"""while read -r unit pid group; do
    [ "$unit" = {STOCK} ] || set -- "$@" "/proc/$pid/environ"
done <{TABLE}
grep -zHE '^({"|".join(names)})=' "$@" | tr '\\0' '\\n'"""
        if plan.slices
        else "true"
    }


def _environment(subject: Subject) -> Iterator[CheckResult]:
    environments = _by_process(subject.text("environments"))
    states = unit_states(subject)
    for item in subject.slices:
        found = environments.get(states.get(item.plan.unit, {}).get("MainPID", ""), {})
        wrong = {
            name: found.get(name, "(not set)")
            for name, value in item.environment.items()
            if found.get(name) != value or (not value and name == VISIBLE)
        }
        wanted = {name: item.environment[name] or item.place for name in wrong}
        yield subject.result(
            item.plan.name,
            "environment",
            good=not wrong,
            expected=_pairs(wanted) if wrong else f"{len(item.environment)} planned variables",
            found=_pairs(wrong) if wrong else "all of them in the running process",
            remedy=f"`systemctl restart {item.plan.unit}`; if it stays, `systemctl cat` it: a drop-in "
            "that is not ours is yours to remove",
        )


def _by_process(text: str) -> dict[str, dict[str, str]]:
    """`/proc/<pid>/environ:NAME=value` lines → pid to variables."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        match = re.match(r"/proc/(\d+)/environ:(\w+)=(.*)", line)
        if match:
            found.setdefault(match.group(1), {})[match.group(2)] = match.group(3)
    return found


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _differs(found: str | None, wanted: str) -> bool:
    """systemd prints lists in any order, and not at all what it does not know."""
    return found is not None and sorted(found.split()) != sorted(wanted.split())


def _hardening(subject: Subject) -> Iterator[CheckResult]:
    """What is in force, whatever the unit's file says: a drop-in may have opened it."""
    states = unit_states(subject)
    for item in subject.slices:
        state = states.get(item.plan.unit, {})
        # An older systemd does not know every property, and prints none of that name.
        wrong = {
            key: state[key] for key, value in HARDENING.items() if _differs(state.get(key), value)
        }
        own = [path.format(unit=item.plan.unit) for path in OWN_DROP_INS]
        drop_ins = [path for path in state.get("DropInPaths", "").split() if path not in own]
        yield subject.result(
            item.plan.name,
            "hardening",
            good=bool(state) and not wrong,
            expected=_pairs({key: HARDENING[key] for key in wrong}) if wrong else "as in its unit",
            found=_pairs(wrong) if wrong else "in force",
            remedy=f"remove {' '.join(drop_ins)}, `systemctl daemon-reload`, restart the slice"
            if drop_ins
            else "deploy again",
        )


CHECKS = (
    Check("unit", _active, unit_questions),
    Check("restarts", _restarts),
    Check("hardening", _hardening),
    Check("environment", _environment, _environment_questions),
)
