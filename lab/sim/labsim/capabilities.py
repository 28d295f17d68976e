"""MIG's permissions as files: /proc/driver/nvidia/capabilities, the table of minors, and nodes.

A process may use a MIG device when it can open the nodes of its GPU instance and of its compute
instance. The nodes borrow virtual terminals, of which there are few: two GPUs may share numbers,
two instances of one GPU never do.
"""

from __future__ import annotations

from collections.abc import Iterable

from .gpu_state import GpuState
from .partition import MOST_CIS, MOST_GIS, Partition

FOLDER = "nvidia-caps"
CONFIG_MINOR, MONITOR_MINOR = 1, 2
CONFIG_MODE, ACCESS_MODE = 0o400, 0o444
COMMON_NODES = {f"{FOLDER}/nvidia-cap{CONFIG_MINOR}": 18, f"{FOLDER}/nvidia-cap{MONITOR_MINOR}": 19}
FREE_TERMINALS = (*range(28, 40), *range(44, 64), *range(1, 18))  # beside those of `nodes`
MOST_PER_GPU = 14  # seven GPU instances with one compute instance each

Tree = dict[str, str]
Nodes = dict[str, int]


def tree(states: Iterable[GpuState]) -> Tree:
    """Below /proc/driver; nothing on a host without a card that can be cut."""
    partitions = [state.partition for state in states if state.partition]
    if not partitions:
        return {}
    root = "nvidia/capabilities"
    found = {
        f"{root}/mig/config": _file(CONFIG_MINOR, CONFIG_MODE),
        f"{root}/mig/monitor": _file(MONITOR_MINOR, ACCESS_MODE),
        "nvidia-caps/mig-minors": "\n".join(_minors(partitions)),
    }
    for partition in partitions:
        for name, minor in _capabilities(partition).items():
            found[f"{root}/gpu{partition.minor}/mig/{name}/access"] = _file(minor, ACCESS_MODE)
    return found


def mode_of(node: str) -> int:
    """cap1 is root's, the others may be opened by everybody (and never written)."""
    return CONFIG_MODE if node.endswith(f"nvidia-cap{CONFIG_MINOR}") else ACCESS_MODE


class CapabilityNodes:
    """Gives each capability a terminal and keeps it as long as the capability is there."""

    def __init__(self) -> None:
        self._given: dict[int, Nodes] = {}

    def nodes(self, states: Iterable[GpuState]) -> Nodes:
        partitions = [state.partition for state in states if state.partition]
        for partition in partitions:
            self._give(partition)
        found = dict(COMMON_NODES) if partitions else {}
        for partition in partitions:
            found |= self._given[partition.minor]
        return found

    def _give(self, partition: Partition) -> None:
        names = [f"{FOLDER}/nvidia-cap{minor}" for minor in _capabilities(partition).values()]
        before = self._given.get(partition.minor, {})
        given = {name: before[name] for name in names if name in before}
        offset = partition.minor * MOST_PER_GPU % len(FREE_TERMINALS)
        order = FREE_TERMINALS[offset:] + FREE_TERMINALS[:offset]
        free = iter([terminal for terminal in order if terminal not in given.values()])
        given |= {name: next(free) for name in names if name not in given}
        self._given[partition.minor] = given


def _capabilities(partition: Partition) -> dict[str, int]:
    """gi1, gi1/ci0, … and the minor of each, for the instances that exist."""
    found = {}
    for gi, instance in sorted(partition.instances.items()):
        found[f"gi{gi}"] = partition.gi_minor(gi)
        for ci in sorted(instance.compute):
            found[f"gi{gi}/ci{ci}"] = partition.ci_minor(gi, ci)
    return found


def _minors(partitions: list[Partition]) -> list[str]:
    """The fixed table of every capability that could be, as the driver prints it."""
    lines = [f"config {CONFIG_MINOR}", f"monitor {MONITOR_MINOR}"]
    for partition in sorted(partitions, key=lambda each: each.minor):
        for gi in range(MOST_GIS):
            place = f"gpu{partition.minor}/gi{gi}"
            lines.append(f"{place}/access {partition.gi_minor(gi)}")
            lines += [
                f"{place}/ci{ci}/access {partition.ci_minor(gi, ci)}" for ci in range(MOST_CIS)
            ]
    return lines


def _file(minor: int, mode: int) -> str:
    return f"DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1"
