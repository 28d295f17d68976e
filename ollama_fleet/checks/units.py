"""The slices' units: running and enabled, with the planned environment in the live process, and the
kernel letting each open its own GPUs and no other."""

import re
from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.requests import FOLDER
from ollama_fleet.checks.warm import TABLE as WARM_TABLE
from ollama_fleet.mig.instances import MigInstance
from ollama_fleet.mig.layout import DROP_IN, DROP_INS
from ollama_fleet.planner.plan import BoundSlice, HostPlan
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
# Unit, main process and control group of each, one per line, as `units` found them: systemctl is dear.
TABLE = f"{FOLDER}/units"
PROPERTIES = ("Id", "ActiveState", "UnitFileState", "MainPID", "ControlGroup", "DropInPaths")


def unit_questions(plan: HostPlan) -> dict[str, str]:
    """State of every unit; what later questions need of it is kept in TABLE and WARM_TABLE."""
    warm = [item.warm_unit for item in plan.slices if item.preload]
    units = " ".join((*(item.unit for item in plan.slices), STOCK, *warm))
    properties = ",".join((*PROPERTIES, *HARDENING))
    return {
        "units": f"""systemctl show -p {properties} {units} | awk -F= -v table={TABLE} -v warm={WARM_TABLE} '
    function keep() {{
        if (!("Id" in of)) return
        if (of["Id"] !~ /^ollama-warm-/) print of["Id"], of["MainPID"], of["ControlGroup"] >table
        else if (of["ActiveState"] != "inactive") print of["Id"] >warm
    }}
    NF == 0 {{ keep(); split("", of) }}
    NF > 0 {{ of[$1] = $2 }}
    {{ print }}
    END {{ keep() }}'"""
    }


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


# A shell joins one slice's control group after the other and opens each GPU's node and the node of each
# right to a MIG instance: the kernel applies the slice's own device list to it. GPUs O_RDWR and rights
# O_RDONLY, as CUDA opens them; only the opening matters. `command` keeps a refused redirection from
# ending the shell.
_OPEN = f"""
root=/sys/fs/cgroup
[ -f $root/cgroup.controllers ] || root=$root/devices
sh -c 'while read -r unit pid group; do
    [ -n "$group" ] && [ "$unit" != {STOCK} ] && echo $$ >"$1$group/cgroup.procs" || continue
    for node in /dev/nvidia[0-9]*; do
        command : <>"$node" && echo "$unit open $node" || echo "$unit refused $node"
    done
    for node in /dev/nvidia-caps/nvidia-cap[0-9]*; do
        [ -e "$node" ] || continue
        command : <"$node" && echo "$unit open $node" || echo "$unit refused $node"
    done
done <"$0"' {TABLE} "$root" 2>/dev/null
"""
_RIGHTS = "grep -H DeviceFileMinor /proc/driver/nvidia/capabilities/gpu*/mig/gi*/access \\\n" + (
    "    /proc/driver/nvidia/capabilities/gpu*/mig/gi*/ci*/access"
)


def _isolation_questions(plan: HostPlan) -> dict[str, str]:
    asked = {"devices": _OPEN} if plan.slices else {}
    return {**asked, **({"rights": _RIGHTS} if plan.mig else {})}


def _isolation(subject: Subject) -> Iterator[CheckResult]:
    rows = [line.split() for line in subject.text("devices").splitlines()]
    for item in subject.slices:
        opened = sorted(row[2] for row in rows if row[:2] == [item.plan.unit, "open"])
        own = _own_nodes(subject, item)
        yield subject.result(
            item.plan.name,
            "isolation",
            good=opened == own,
            expected=f"may open {', '.join(own)} only",
            found=f"may open {', '.join(opened) or 'none'}",
            remedy=f"see `systemctl show -p DevicePolicy,DeviceAllow {item.plan.unit}`; deploy again",
        )


def _own_nodes(subject: Subject, item: BoundSlice) -> list[str]:
    """Its GPUs' nodes, and those of the rights to its instance, by the driver's own numbers."""
    minors = [node.removeprefix("/dev/nvidia") for node in item.devices]
    gpus = [f"/dev/nvidia{minor}" for minor in minors if minor.isdigit()]
    made = _instance(subject, item)
    if not made:
        return sorted(gpus)
    gi = f"gpu{minors[-1]}/mig/gi{made.gi}"
    found = re.findall(
        rf"capabilities/{gi}(/ci{made.ci})?/access:DeviceFileMinor:\s*(\d+)", subject.text("rights")
    )
    return sorted([*gpus, *(f"/dev/nvidia-caps/nvidia-cap{number}" for _, number in found)])


def _instance(subject: Subject, item: BoundSlice) -> MigInstance | None:
    seat = item.seat
    if not seat:
        return None
    gpus = [gpu for gpu in subject.hardware.gpus if gpu.pci_bus_id == seat.address]
    return subject.hardware.mig_of(gpus[0]).instance(seat.profile, seat.nth) if gpus else None


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
    Check("hardening", _hardening),
    Check("environment", _environment, _environment_questions),
    Check("isolation", _isolation, _isolation_questions),
)
