"""Who listens where: slices at their planned ports on loopback, the host's nginx at its own, and no other
Ollama where others reach it. (One on loopback is drift.)

The kernel's own tables and the open files of our processes are read, by tools that every host has. Of
other programs nothing is asked: what they do is no matter of ours.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.programs import OLLAMA, TABLE
from ollama_fleet.gateway.places import HOP_UNIT
from ollama_fleet.metrics.places import DOOR_UNIT
from ollama_fleet.metrics.places import UNITS as MONITORING_UNITS
from ollama_fleet.planner.plan import LOADER_UNIT, BoundSlice, HostPlan
from ollama_fleet.watching.places import HEALTH_UNIT, WATCHDOG_UNIT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Listener = tuple[Address, int]

# `unit <unit> <pid>` of ours.
_OURS = """root=/sys/fs/cgroup
[ -f $root/cgroup.controllers ] || root=$root/systemd
ours=' ' tables='/proc/net/tcp /proc/net/tcp6'
set -- /dev/null
for list in $root/system.slice/ollama*.service/cgroup.procs; do
    [ -e "$list" ] || continue
    unit=${list%/cgroup.procs}
    while read -r pid; do
        echo "unit ${unit##*/} $pid"
        ours="$ours$pid " && set -- "$@" "/proc/$pid/fd"
    done <"$list"
done
"""
# `program <pid>` of every Ollama. A container has tables of its own: those of one that is not ours are read
# as well.
_OLLAMAS = f"""while IFS=: read -r file program; do
    case $program in {"|".join(OLLAMA)}) ;; *) continue ;; esac
    pid=${{file#/proc/}} && pid=${{pid%/comm}}
    echo "program $pid"
    case $ours in *" $pid "*) continue ;; esac
    set -- "$@" "/proc/$pid/fd"
    tables="$tables /proc/$pid/net/tcp /proc/$pid/net/tcp6"
done <{TABLE}
"""
# Who of them has an open socket that listens.
_LISTENS = """{ cat $tables; ls -ln "$@"; } 2>/dev/null | awk '
    $4 == "0A" { at[$10] = $2 }
    /^\\/proc\\/.*:$/ { split($0, part, "/"); pid = part[3] }
    match($0, /socket:\\[[0-9]+\\]/) {
        socket = substr($0, RSTART + 8, RLENGTH - 9)
        if (socket in at) print "listens", pid, at[socket]
    }'"""
QUESTION = _OURS + _OLLAMAS + _LISTENS
# The same of a machine whose Ollamas are no matter.
OF_UNITS = _OURS + _LISTENS


@dataclass(frozen=True)
class Listening:
    """Units by the pids of their processes, pids of every Ollama, and what each process listens on."""

    unit_of: dict[int, str] = field(default_factory=dict)
    ollamas: set[int] = field(default_factory=set)
    at: dict[int, list[Listener]] = field(default_factory=dict)

    def of_unit(self, unit: str) -> list[Listener]:
        """What the processes of a unit listen on, each once."""
        found = {one for pid, name in self.unit_of.items() if name == unit for one in self._of(pid)}
        return sorted(found, key=_order)

    def strangers(self, planned: set[str]) -> list[tuple[int, Listener]]:
        """Ollamas of none of these units that others can reach."""
        pids = sorted(pid for pid in self.ollamas if self.unit_of.get(pid) not in planned)
        found = [(pid, one) for pid in pids for one in sorted(self._of(pid), key=_order)]
        return [(pid, one) for pid, one in found if not is_loopback(one[0])]

    def _of(self, pid: int) -> list[Listener]:
        return self.at.get(pid, [])


def read_listening(text: str) -> Listening:
    """Answer to QUESTION."""
    found = Listening()
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["unit"] and len(words) == 3 and words[2].isdigit():
            found.unit_of[int(words[2])] = words[1]
        elif words[:1] == ["program"] and len(words) == 2 and words[1].isdigit():
            found.ollamas.add(int(words[1]))
        elif words[:1] == ["listens"] and len(words) == 3 and words[1].isdigit():
            found.at.setdefault(int(words[1]), []).append(_listener(words[2]))
    return found


def _listener(text: str) -> Listener:
    """`0100007F:2CAA` of /proc/net/tcp: words of four bytes, each the other way round."""
    address, _, port = text.partition(":")
    words = [address[start : start + 8] for start in range(0, len(address), 8)]
    packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
    return ipaddress.ip_address(packed), int(port, 16)


def _order(one: Listener) -> tuple[int, int, int]:
    return one[1], one[0].version, int(one[0])


def is_loopback(address: Address) -> bool:
    """Whether only the machine itself reaches it."""
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def words_of(listeners: list[Listener]) -> str:
    """Addresses and ports as people write them."""
    shown = (f"[{address}]" if address.version == 6 else str(address) for address, _ in listeners)
    return ", ".join(f"{name}:{port}" for name, (_, port) in zip(shown, listeners, strict=True))


def _ports(subject: Subject) -> Iterator[CheckResult]:
    if "ports" not in subject.answers:
        return
    found = read_listening(subject.text("ports"))
    for item in subject.slices:
        yield _of_slice(subject, item, found)
    yield _of_host(subject, found)


def _of_slice(subject: Subject, item: BoundSlice, found: Listening) -> CheckResult:
    """Its server at its port; runners take further ones on loopback, as they like."""
    has = found.of_unit(item.plan.unit)
    here = [one for one in has if is_loopback(one[0])]
    beyond = [one for one in has if one not in here]
    right = [one for one in here if one[1] == item.plan.port]
    return subject.result(
        item.plan.name,
        "ports",
        good=bool(right) and not beyond,
        expected=f"its server at 127.0.0.1:{item.plan.port}, nothing beyond loopback",
        found=words_of(beyond or right) or f"at {words_of(here) or 'no port'}",
        remedy=f"`systemctl cat {item.plan.unit}`: a drop-in may have changed OLLAMA_HOST; see "
        f"`ss -tlnp | grep {item.plan.port}`, then `systemctl restart {item.plan.unit}`",
    )


def planned_ports(plan: HostPlan) -> dict[str, int | None]:
    """Units of ours beside the slices, and at which port each may listen beyond loopback."""
    return {
        HOP_UNIT: plan.hop.listen_port if plan.hop else None,
        HEALTH_UNIT: None,
        WATCHDOG_UNIT: None,
        LOADER_UNIT: None,
        **{item.warm_unit: None for item in plan.slices},
        **dict.fromkeys(MONITORING_UNITS),
        DOOR_UNIT: plan.monitoring.port if plan.monitoring else None,
    }


def _of_host(subject: Subject, found: Listening) -> CheckResult:
    planned = planned_ports(subject.plan)
    wrong, right = [], []
    for unit, port in planned.items():
        open_ = [one for one in found.of_unit(unit) if not is_loopback(one[0])]
        other = [one for one in open_ if one[1] != port]
        wrong += [f"{unit} at {words_of(other)}"] if other else []
        right += [f"{unit.removesuffix('.service')} at {port}"] if open_ and not other else []
    known = {*planned, *(item.unit for item in subject.plan.slices)}
    for pid, one in found.strangers(known):
        where = found.unit_of.get(pid) or f"process {pid}"
        wrong.append(f"an Ollama that is not planned ({where}) at {words_of([one])}")
    return subject.result(
        "host",
        "ports",
        good=not wrong,
        expected="beyond loopback what gateways need, and no Ollama",
        found="; ".join(dict.fromkeys(wrong)) or ", ".join(right) or "nothing beyond loopback",
        remedy="see `ss -tlnp` and `systemctl status PID`: stop who is not wanted, deploy again",
    )


def _asked(plan: HostPlan) -> dict[str, str]:
    return {"ports": QUESTION}


CHECK = Check("ports", _ports, _asked)
