"""Power limit, clocks, ECC and compute mode of GPUs: what is asked for, what is set, what differs.

Most of them are lost when the driver is loaded anew, so the host's own script applies them at boot,
too. Locked clocks cannot be read back from nvidia-smi: the script notes what it did. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ollama_fleet.hardware.found import Gpu, Hardware, number
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.questions import Answers

# What the script did since the driver was loaded: `<load> <address> <option> <value>`.
CLOCKS_FILE = "/run/ollama-fleet/gpu-clocks"
_FIELDS = "index,power.limit,power.min_limit,power.max_limit,compute_mode,ecc.mode.current,"
_CLOCKS = (("-lgc", "graphics clock"), ("-lmc", "memory clock"))
# What an inventory does not name any more is locked all the same, so this is asked of every host.
LOCKED_QUESTION = {
    "gpu clocks locked": f'load=$(stat -c %i /sys/module/nvidia 2>/dev/null)\n[ -n "$load" ] || exit 0\n'
    f'sed -n "s/^$load //p" {CLOCKS_FILE} 2>/dev/null; true',
}
# Fields of the clocks are asked for apart: one that a driver does not know fails the whole query.
SETTINGS_QUESTIONS = {
    "gpu settings": f"nvidia-smi --query-gpu={_FIELDS}ecc.mode.pending "
    "--format=csv,noheader,nounits",
    "gpu clock limits": "nvidia-smi --query-gpu=index,clocks.max.graphics,clocks.max.memory "
    "--format=csv,noheader,nounits",
    **LOCKED_QUESTION,
}


@dataclass(frozen=True)
class GpuState:
    """Settings of one GPU as nvidia-smi tells them; None is what it does not tell."""

    index: int
    power_w: int | None = None
    least_power_w: int | None = None
    most_power_w: int | None = None
    compute_mode: str | None = None
    ecc: bool | None = None
    ecc_pending: bool | None = None
    most_graphics_mhz: int | None = None
    most_memory_mhz: int | None = None
    locked: frozenset[str] = frozenset()


def settings_questions(plan: HostPlan) -> dict[str, str]:
    """What to ask; where no setting is wanted, only which clocks are locked from earlier."""
    return SETTINGS_QUESTIONS if plan.provision.settings else LOCKED_QUESTION


def wanted_settings(plan: HostPlan, hardware: Hardware) -> dict[str, dict[str, str]]:
    """PCI address to option of nvidia-smi to its value; later entries of the plan go over earlier."""
    wanted: dict[str, dict[str, str]] = {}
    for entry in plan.provision.settings:
        values = {
            "-pl": entry.power_limit_w,
            "-c": entry.compute_mode,
            "-e": None if entry.ecc is None else int(entry.ecc),
            "-lgc": _range(entry.graphics_clock_mhz),
            "-lmc": _range(entry.memory_clock_mhz),
        }
        options = {option: str(value) for option, value in values.items() if value is not None}
        for position in entry.gpus or range(len(hardware.gpus)):
            if position < len(hardware.gpus):
                wanted.setdefault(hardware.gpus[position].pci_bus_id, {}).update(options)
    return {address: wanted[address] for address in sorted(wanted)}


def _range(value: tuple[int, int] | None) -> str | None:
    return None if value is None else f"{value[0]},{value[1]}"


def read_settings(answers: Answers, hardware: Hardware) -> tuple[GpuState, ...]:
    """Answers to `settings_questions`, in the order of `hardware`'s GPUs; empty when not asked."""
    if not LOCKED_QUESTION.keys() <= answers.keys():
        return ()
    rows, limits = (
        _rows(answers[name].text if name in answers else "")
        for name in ("gpu settings", "gpu clock limits")
    )
    locked = [line.split() for line in answers["gpu clocks locked"].lines]
    return tuple(
        _state(
            gpu,
            rows.get(gpu.index, []),
            limits.get(gpu.index, []),
            frozenset(" ".join(word[1:]) for word in locked if word[0] == gpu.pci_bus_id),
        )
        for gpu in hardware.gpus
    )


def _rows(text: str) -> dict[int, list[str]]:
    cells = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return {int(row[0]): row[1:] for row in cells if row[0].isdigit()}


def _state(gpu: Gpu, row: list[str], limits: list[str], locked: frozenset[str]) -> GpuState:
    switch = {"Enabled": True, "Disabled": False}
    if len(row) != 6:
        return GpuState(gpu.index, locked=locked)
    mode = row[3].lower().replace(" ", "_")
    return GpuState(
        gpu.index,
        power_w=number(row[0]),
        least_power_w=number(row[1]),
        most_power_w=number(row[2]),
        compute_mode=mode if mode.isidentifier() else None,
        ecc=switch.get(row[4]),
        ecc_pending=switch.get(row[5]),
        most_graphics_mhz=number(limits[0]) if len(limits) == 2 else None,
        most_memory_mhz=number(limits[1]) if len(limits) == 2 else None,
        locked=locked,
    )


def setting_problems(
    plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware, states: Sequence[GpuState]
) -> Iterator[str]:
    """Wanted values that a card cannot have, with its limits. Nothing is changed while there is one."""
    wanted = wanted_settings(plan, hardware)
    cut = {position for position, _ in plan.mig}
    serving = {name: item.plan.name for item in bound for name in _places(item)}
    for position, (gpu, state) in enumerate(zip(hardware.gpus, states, strict=False)):
        options = wanted.get(gpu.pci_bus_id, {})
        served = serving.get(gpu.uuid) or serving.get(gpu.pci_bus_id)
        misfits = _mode_misfits(options.get("-c"), position in cut, served)
        for text in (*_out_of_range(options, state), *misfits):
            yield f"gpu_settings of GPU {position} ({gpu.name}): {text}"
    for entry in plan.provision.settings:
        for position in entry.gpus:
            if position >= len(hardware.gpus):
                yield f"gpu_settings: no GPU {position}; the host has {len(hardware.gpus)}"


def _places(item: BoundSlice) -> tuple[str, ...]:
    """UUIDs of a slice's whole GPUs, or the address of the GPU that its instance is on."""
    return (item.seat.address,) if item.seat else item.uuids


def _mode_misfits(mode: str | None, is_cut: bool, served: str | None) -> Iterator[str]:
    if mode == "exclusive_process" and is_cut:
        yield "a GPU that is cut cannot be exclusive_process; leave `compute_mode` out"
    if mode == "prohibited" and served:
        yield (
            f"slice '{served}' is to serve from it, and no process may use a GPU that is prohibited; "
            "leave `compute_mode` out for it"
        )


def _out_of_range(options: dict[str, str], state: GpuState) -> Iterator[str]:
    least, most = state.least_power_w, state.most_power_w
    if "-pl" in options:
        power_w = int(options["-pl"])
        if least is None or most is None:
            yield "its power limit cannot be set; leave `power_limit_w` out"
        elif not least <= power_w <= most:
            yield f"power_limit_w {power_w} is out of its range, {least} to {most} W"
    if "-e" in options and state.ecc_pending is None:
        yield "the card has no ECC to switch; leave `ecc` out"
    limits = {"-lgc": state.most_graphics_mhz, "-lmc": state.most_memory_mhz}
    for option, name in _CLOCKS:
        limit = limits[option]
        high = int(options.get(option, "0").rpartition(",")[2])
        if limit is not None and high > limit:
            yield f"{name} {high} MHz is above its highest, {limit} MHz"


def setting_differences(
    plan: HostPlan, hardware: Hardware, states: Sequence[GpuState]
) -> list[tuple[str, str, str]]:
    """(PCI address, wanted, found) of each setting that is not as wanted; ECC counts as set when it
    is pending. A clock that we locked and nobody wants locked any more is one, too."""
    wanted = wanted_settings(plan, hardware)
    return [
        (gpu.pci_bus_id, f"{name} {value}", found)
        for gpu, state in zip(hardware.gpus, states, strict=False)
        for name, value, found in _compared(wanted.get(gpu.pci_bus_id, {}), state)
        if value != found
    ]


def _compared(options: dict[str, str], state: GpuState) -> Iterator[tuple[str, str, str]]:
    """Name, wanted and found, in the same words."""
    power = "unknown" if state.power_w is None else f"{state.power_w} W"
    ecc = {None: "unknown", True: "on", False: "off"}[state.ecc_pending]
    if "-pl" in options:
        yield "power limit", f"{options['-pl']} W", power
    if "-c" in options:
        yield "compute mode", options["-c"], state.compute_mode or "unknown"
    if "-e" in options:
        yield "ECC", "on" if options["-e"] == "1" else "off", ecc
    for option, name in _CLOCKS:
        locked = sorted(one for one in state.locked if one.startswith(f"{option} "))
        if option in options:
            text = f"{option} {options[option]}"
            found = locked[0] if locked else "not locked since the driver was loaded"
            yield name, text, text if text in locked else found
        elif locked:
            yield name, "unlocked", locked[0]


def ecc_waits(states: Sequence[GpuState]) -> list[int]:
    """Indexes of the GPUs whose ECC mode changes with the next reboot."""
    return [
        state.index
        for state in states
        if None not in (state.ecc, state.ecc_pending) and state.ecc != state.ecc_pending
    ]
