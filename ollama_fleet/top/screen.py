"""The fleet as it is now, as lines for a terminal of any width; what does not fit is cut, worst things last.

`lines_of` makes all lines, `window` the ones that fit on the screen.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

from ollama_fleet.top.cells import bar, cell, clean, figure, gib, row, span
from ollama_fleet.top.model import Alarm, FleetNow, GpuNow, MachineNow, PoolNow
from ollama_fleet.top.slice_line import slice_line

COLOURS = {"critical": "bold red", "major": "yellow", "minor": "cyan"}
MOST_ALARMS = 8
# Frames older than so many intervals are told to be old.
LATE = 3
KEYS = "q ends · ↑ ↓ page home end scroll · w worst first"


@dataclass(frozen=True)
class View:
    """What of the lines is on the screen: the first one, and in which order machines come."""

    first: int = 0
    worst_first: bool = False


def lines_of(fleet: FleetNow, width: int, worst_first: bool = False) -> list[Text]:
    """Everything, the whole of the fleet first, then machine after machine."""
    lines = [*_headlines(fleet, width), *_alarms(fleet.alarms, width), *_pools(fleet, width)]
    machines = sorted(fleet.machines, key=_badness) if worst_first else fleet.machines
    for machine in machines:
        lines += [Text(""), *_machine(machine, width)]
    return lines


def window(lines: Sequence[Text], view: View, width: int, height: int) -> tuple[list[Text], View]:
    """The lines from `view.first` on, and a last one that says where one is; the view as far as it goes."""
    room = max(1, height - 1)
    first = max(0, min(view.first, len(lines) - room))
    shown = list(lines[first : first + room])
    shown += [Text("")] * (room - len(shown))
    last = min(len(lines), first + room)
    where = f"{first + 1}–{last} of {len(lines)}" if len(lines) > room else ""
    order = "worst first" if view.worst_first else ""
    foot = "  ".join(part for part in (where, order, KEYS) if part)
    return [*shown, cell(foot, width, "reverse")], View(first, view.worst_first)


def _badness(machine: MachineNow) -> tuple[int, int, int]:
    """Many and bad alarms first; else as in the inventory."""
    counts = [
        sum(alarm.severity == name for alarm in machine.alarms)
        for name in ("critical", "major", "minor")
    ]
    return (-counts[0], -counts[1], -counts[2])


def _headlines(fleet: FleetNow, width: int) -> Iterator[Text]:
    """Sums over the fleet: what it has, and what is asked of it where there is a gateway."""
    gpus = [gpu for machine in fleet.machines for gpu in machine.gpus]
    pools = [pool for machine in fleet.machines for pool in machine.pools]
    used, total = _sum(gpu.used_mib for gpu in gpus), _sum(gpu.memory_mib for gpu in gpus)
    title = f"{clean(fleet.inventory)}  {clean(fleet.at[11:19])} UTC  "
    machines = len(fleet.machines)
    has = f"{machines} machine{'s' * (machines != 1)} · {len(gpus)} GPU{'s' * (len(gpus) != 1)}"
    has += f" · {gib(used)} of {gib(total)} GiB"
    yield row([Text(title, style="bold") + Text(has, style="not bold")], width)
    if pools:
        asked = (
            f"{figure(_sum(pool.requests_per_s for pool in pools), 1)} requests/s",
            f"{figure(_sum(pool.tokens_per_s for pool in pools))} tokens/s",
            f"{figure(_sum(pool.running for pool in pools))} running",
            f"{figure(_sum(pool.waiting for pool in pools))} waiting",
        )
        yield row([Text(" · ".join(asked))], width)


def _sum(values: Iterable[float | None]) -> float | None:
    """None where nobody knows any of them."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _alarms(alarms: Sequence[Alarm], width: int) -> Iterator[Text]:
    if not alarms:
        yield Text("no alarms", style="green")
        return
    for alarm in alarms[:MOST_ALARMS]:
        where = alarm.host if alarm.subject == "host" else f"{alarm.host} {alarm.subject}"
        words = f"{clean(where)}: {clean(alarm.words)}"
        yield row([Text("●", style=COLOURS[alarm.severity]), Text(words)], width)
    if len(alarms) > MOST_ALARMS:
        yield Text(f"  and {len(alarms) - MOST_ALARMS} more alarms", style="dim")


def _pools(fleet: FleetNow, width: int) -> Iterator[Text]:
    pools = [pool for machine in fleet.machines for pool in machine.pools]
    if not pools:
        return
    name = max(12, min(40, width - 66))
    heads = ("wait", "run", "slices", "requests/s", "tokens/s", "first byte", "failed")
    widths = (5, 5, 7, 10, 8, 13, 6)
    yield Text("")
    yield row(
        [
            cell("model", name, "bold"),
            *(
                cell(head, size, "bold", right=True)
                for head, size in zip(heads, widths, strict=True)
            ),
        ],
        width,
    )
    for pool in pools:
        yield row([cell(_pool_name(pool, pools), name), *_pool(pool, widths)], width)


def _pool_name(pool: PoolNow, pools: Sequence[PoolNow]) -> str:
    """With its gateway, where there are several."""
    several = len({one.gateway for one in pools}) > 1
    return f"{pool.model} ({pool.gateway})" if several else pool.model


def _pool(pool: PoolNow, widths: Sequence[int]) -> Iterator[Text]:
    up = figure(pool.up)
    waits = [figure(value, 2) for value in (pool.first_byte_s, pool.slowest_first_byte_s)]
    values = (
        (figure(pool.waiting), "yellow" if pool.waiting else ""),
        (figure(pool.running), ""),
        (f"{up}/{pool.slices}", "" if pool.up == pool.slices else "red"),
        (figure(pool.requests_per_s, 1), ""),
        (figure(pool.tokens_per_s), ""),
        (f"{waits[0]}–{waits[1]} s" if pool.first_byte_s is not None else "–", ""),
        (figure(pool.faults), "red" if pool.faults else ""),
    )
    for (text, style), size in zip(values, widths, strict=True):
        yield cell(text, size, style, right=True)


def _machine(machine: MachineNow, width: int) -> Iterator[Text]:
    yield _machine_line(machine, width)
    if machine.error:
        for line in wrap(clean(machine.error), max(20, width - 4)):
            yield Text(f"    {line}", style="red")
        return
    for gpu in machine.gpus:
        yield _gpu_line(gpu, width)
    for item in machine.slices:
        yield slice_line(item, width)


def _machine_line(machine: MachineNow, width: int) -> Text:
    system, worst = machine.system, min((a.severity for a in machine.alarms), default="")
    name = Text(clean(machine.name), style=f"{COLOURS.get(worst, 'bold green')} underline")
    parts = [name, Text(clean(", ".join(machine.roles)), style="dim")]
    if machine.age_s is None:
        return row([*parts, Text("" if machine.error else "asking …", style="dim")], width)
    disks = ", ".join(f"{clean(disk.path)} {gib(disk.free_mib)} GiB free" for disk in system.disks)
    memory = None if None in (system.memory_mib, system.available_mib) else system.memory_mib
    used = memory - (system.available_mib or 0) if memory is not None else None
    parts += [
        Text(f"CPU {figure(system.cpu_percent)} % of {figure(system.cpus)}"),
        Text(f"RAM {gib(used)}/{gib(system.memory_mib)} GiB"),
        Text(f"disk {disks or '–'}"),
    ]
    if machine.cost and machine.age_s > LATE * machine.cost.every_s:
        parts.insert(1, Text(f"{span(machine.age_s)} ago", style="red"))
    return row([parts[0], Text("  ").join(parts[1:])], width)


def _gpu_line(gpu: GpuNow, width: int) -> Text:
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ") or gpu.address
    wide = width >= 100
    state = "lost" if gpu.lost else "slowed" if gpu.slowed else "warm" if gpu.warm else ""
    cells = [
        cell(f"  {gpu.position}", 4),
        cell(name, 20 if wide else 12),
        bar(
            gpu.used_mib,
            gpu.memory_mib,
            gpu.planned_mib,
            max(10, min(40, width - (80 if wide else 62))),
        ),
        cell(f"{gib(gpu.used_mib)}/{gib(gpu.memory_mib)} GiB", 14, right=True),
        cell(figure(gpu.utilization_percent, 0, " %"), 5, right=True),
        cell(figure(gpu.temperature_c, 0, " °C"), 6, right=True),
        cell(
            f"{figure(gpu.power_w)}/{figure(gpu.power_limit_w)} W",
            9 if not wide else 10,
            right=True,
        ),
    ]
    return row([*cells, Text(state, style="bold red")], width)
