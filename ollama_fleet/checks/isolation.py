"""The kernel lets each slice open its own GPUs and its own MIG instance, and no other: tried, not read."""

import re
from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.shown_units import TABLE
from ollama_fleet.checks.units import STOCK
from ollama_fleet.hardware.instances import MigInstance
from ollama_fleet.planner.plan import BoundSlice, HostPlan

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


CHECK = Check("isolation", _isolation, _isolation_questions)
