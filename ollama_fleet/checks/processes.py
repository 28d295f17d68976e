"""Processes on the slices' GPUs that are none of theirs: whose they are, and whether the slice still fits
beside them.

GPUs that no slice has, such as those that the inventory keeps for others with `reserved:`, are not looked
at. Graphics are: a desktop takes memory, too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import unescape

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.wording import listed, plain
from ollama_fleet.hardware.found import normal_bus_id, number
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.questions import Slow

HOST = "host"
PROCESSES = "drift.processes"
# All that the driver knows of, its words last, for they are the process's own; then of each its control
# group and user.
_LIST = """nvidia-smi -q -x -d PIDS | awk '
    function value(line) { sub(/^[^>]*>/, "", line); sub(/<\\/[a-z_]*>.*/, "", line); return line }
    /<gpu id=/ { split($0, part, "\\""); gpu = part[2] }
    /<process_info>/ { within = 1; its = "N/A"; pid = type = used = name = "" }
    within && /<gpu_instance_id>/ { its = value($0) }
    within && /<pid>/ { pid = value($0) }
    within && /<type>/ { type = value($0) }
    within && /<process_name>/ { name = value($0) }
    within && /<used_memory>/ { used = value($0); sub(/ MiB/, "", used); gsub(/ /, "", used) }
    /<\\/process_info>/ { within = 0; print "process", gpu, its, pid, type, used, name }'"""
_ASK = f"""found=$({_LIST})
printf '%s\\n' "$found"
set --
while read -r word gpu its pid rest; do
    case $pid in *[!0-9]* | '') continue ;; esac
    case " $* " in *" /proc/$pid "*) continue ;; esac
    [ ! -e "/proc/$pid" ] || set -- "$@" "/proc/$pid"
done <<END
$found
END
[ $# -gt 0 ] || exit 0
stat -c 'user %n %U' "$@"
for place; do set -- "$@" "$place/cgroup"; shift; done
grep -sH . "$@"; true"""


@dataclass(frozen=True)
class Tenant:
    """A process on a GPU: `instance` is the id of its GPU instance, None where the GPU is whole; `group` the
    last part of its control group: a unit, a session, a container. `used_mib` None: nobody tells."""

    gpu: str
    instance: int | None
    pid: int
    used_mib: int | None
    name: str
    graphics: bool = False
    user: str = "?"
    group: str = "?"

    @property
    def words(self) -> str:
        """All that helps to find it."""
        memory = "an unknown amount" if self.used_mib is None else f"{self.used_mib} MiB"
        kind = "graphics, " if self.graphics else ""
        return f"{self.name} (pid {self.pid}, {kind}{self.user}, {self.group}): {memory}"


def group_of(path: str) -> str:
    """The owner that a control group names: a unit of the system, a container by the beginning of its id,
    or what stands last in it. Only the system's units have bare names: a user may call his as he likes."""
    if container := re.search(r"([0-9a-f]{12})[0-9a-f]{52}", path):
        return f"container {container.group(1)}"
    if unit := re.match(r"/system\.slice/([^/]+\.service)(/|$)", path):
        return plain(unit.group(1))
    return plain(f"in {path.rstrip('/').rpartition('/')[2] or 'no unit'}")


def read_groups(text: str) -> dict[int, str]:
    """`/proc/<pid>/cgroup:0::/…` lines to the control group of each process; systemd's own hierarchy where
    there are several."""
    found: dict[int, str] = {}
    for pid, kind, path in re.findall(r"^/proc/(\d+)/cgroup:\d+:([^:\n]*):(.*)$", text, re.M):
        if kind in ("", "name=systemd") and (int(pid) not in found or path != "/"):
            found[int(pid)] = path
    return found


def read_users(text: str) -> dict[int, str]:
    """`user /proc/<pid> <name>` lines."""
    found = re.findall(r"^user /proc/(\d+) (\S+)$", text, re.M)
    return {int(pid): plain(user) for pid, user in found}


def read_tenants(text: str) -> list[Tenant]:
    """The answer to PROCESSES. Who ended meanwhile is left out: slices let models go at any time; and in a
    container that has GPUs the driver tells of processes that nobody there can see."""
    groups, users = read_groups(text), read_users(text)
    rows = [line.split(" ", 6) for line in text.splitlines() if line.startswith("process ")]
    return [
        Tenant(
            gpu=normal_bus_id(row[1]),
            instance=number(row[2]),
            pid=int(row[3]),
            used_mib=number(row[5]),
            name=plain(unescape(row[6])),
            graphics=row[4] == "G",
            user=users.get(int(row[3]), "?"),
            group=group_of(groups[int(row[3])]),
        )
        for row in rows
        if len(row) == 7 and row[3].isdigit() and int(row[3]) in groups
    ]


def _questions(plan: HostPlan) -> dict[str, str]:
    return {PROCESSES: Slow(_ASK)} if plan.slices else {}


def _own(subject: Subject) -> set[str]:
    return {item.unit for item in subject.plan.slices}


def _with(subject: Subject, item: BoundSlice, tenants: Sequence[Tenant]) -> dict[str, list[Tenant]]:
    """Address of each GPU of a slice to the others' processes there; of an instance those on it."""
    found: dict[str, list[Tenant]] = {}
    for gpu in subject.hardware.gpus:
        if item.seat and item.seat.address == gpu.pci_bus_id:
            made = subject.hardware.mig_of(gpu).instance(item.seat.profile, item.seat.nth)
            here = [one for one in tenants if made and one.instance == made.gi]
        elif gpu.uuid in item.uuids:
            here = list(tenants)
        else:
            continue
        own = _own(subject)
        found[gpu.pci_bus_id] = [
            one for one in here if one.gpu == gpu.pci_bus_id and one.group not in own
        ]
    return found


def _room_mib(subject: Subject, item: BoundSlice, address: str) -> float | None:
    """What the plan leaves free of a slice's GPU; None where it does not know all that is there."""
    position = [gpu.pci_bus_id for gpu in subject.hardware.gpus].index(address)
    entries = [one for one in subject.plan.memory if one.owner == item.plan.name]
    if not item.seat:
        entries = [one for one in entries if one.selector == position]
    known = [one for one in entries if one.uses and not one.unchecked]
    return known[0].free_mib if len(known) == 1 else None


def _judged(subject: Subject, item: BoundSlice, address: str, others: list[Tenant]) -> CheckResult:
    room = _room_mib(subject, item, address)
    taken = sum(one.used_mib or 0 for one in others)
    left = "" if room is None else f"; the plan leaves {max(0, room):.0f} MiB for others"
    pids = " ".join(str(one.pid) for one in others[:5])
    return subject.result(
        item.plan.name,
        "foreign processes",
        good=False,
        expected="nobody else on its GPUs",
        found=f"{address}: {listed([one.words for one in others])}{left}",
        remedy=f"end them (`systemctl status {pids}` says whose they are), or give them a GPU of their own "
        "with `reserved:`",
        warns=room is None or taken <= room,
    )


def _foreign(subject: Subject) -> Iterator[CheckResult]:
    if PROCESSES not in subject.answers:
        return
    tenants = read_tenants(subject.text(PROCESSES))
    found = [
        _judged(subject, item, address, others)
        for item in subject.slices
        for address, others in _with(subject, item, tenants).items()
        if others
    ]
    yield from found
    words = f"none on the {'other ' if found else ''}slices' GPUs"
    yield subject.result(HOST, "foreign processes", True, "none", words, "")


CHECK = Check("foreign processes", _foreign, _questions)
