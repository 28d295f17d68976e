"""What a host says it has: text of nvidia-smi, PCI and /proc becomes `Hardware`.

Pure: parses text, asks nothing, knows no plan. A value that is no number (`[N/A]`, `[GPU is lost]`,
`ERR!`, …) is None, never 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ollama_fleet.hardware.instances import MIG_ROWS, MODE_FIELDS, MigGpu, read_mig
from ollama_fleet.questions import Answers, Slow

# Fields of `nvidia-smi --query-gpu`, in the order in which `parse_gpus` reads them. All of them
# exist from driver 535 on; one unknown field would fail the whole query (exit code 2).
GPU_FIELDS = (
    "index",
    "uuid",
    "name",
    "pci.bus_id",
    "driver_version",
    "memory.total",
    "memory.used",
    "compute_cap",
    "temperature.gpu",
    "persistence_mode",
    "ecc.errors.uncorrected.volatile.total",
    *MODE_FIELDS,
)
APP_FIELDS = ("gpu_uuid", "pid", "process_name", "used_memory")

LOST = ("[GPU is lost]", "[GPU requires reset]", "ERR!")
# So a driver answers whose card or firmware does not; but also of a power limit on a card that is well. It
# counts where it stands for what every card has.
UNREAD = "[Unknown Error]"
OF_EVERY_CARD = ("uuid", "name", "memory.total", "memory.used", "compute_cap", "temperature.gpu")
NVIDIA_VENDOR = "0x10de"
# VGA, 3D (data-centre cards without a display) and other display controllers. NVSwitches and
# bridges of the same vendor are of other classes.
DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver reports it; `minor` is the N of /dev/nvidiaN."""

    index: int
    uuid: str
    name: str
    pci_bus_id: str
    minor: int | None
    driver_version: str
    memory_total_mib: int | None
    memory_used_mib: int | None
    compute_cap: str | None
    temperature_c: int | None
    persistence: bool | None
    ecc_uncorrected: int | None
    # The driver knows the card but cannot use it any more: it fell off the bus, or wants a reset.
    lost: bool = False


@dataclass(frozen=True)
class GpuProcess:
    """A process that holds memory on a GPU."""

    gpu_uuid: str
    pid: int
    name: str
    used_mib: int | None


@dataclass(frozen=True)
class Hardware:
    """The GPU side of a host at one moment, in PCI order.

    `smi_code` and `smi_message` are nvidia-smi's exit code and its words when it printed no GPUs.
    """

    gpus: tuple[Gpu, ...] = ()
    pci_gpus: tuple[str, ...] = ()
    loaded_driver: str | None = None
    uvm_loaded: bool = False
    smi_code: int = 0
    smi_message: str = ""
    mig: tuple[MigGpu, ...] = ()

    def mig_of(self, gpu: Gpu) -> MigGpu:
        """MIG of one of its GPUs; of one that nobody asked: a card without MIG."""
        return next((one for one in self.mig if one.index == gpu.index), MigGpu(gpu.index))


def normal_bus_id(text: str) -> str:
    """PCI address as sysfs spells it: `00000000:1A:00.0`, `1a:00.0` → `0000:1a:00.0`."""
    domain, _, rest = text.strip().lower().rpartition(":")
    domain, _, bus = domain.rpartition(":")
    return f"{(domain or '0')[-4:].zfill(4)}:{bus}:{rest}"


def number(text: str) -> int | None:
    """An integer, or None for each of the many ways in which nvidia-smi says that it has none."""
    match = re.fullmatch(r"\s*(-?\d+)(\.\d+)?\s*", text)
    return int(match.group(1)) if match else None


def parse_gpus(text: str, minors: dict[str, int]) -> tuple[Gpu, ...]:
    """Lines of `--query-gpu=<GPU_FIELDS> --format=csv,noheader,nounits`, sorted in PCI order.

    `minors` maps normal PCI addresses to device minors, see `parse_minors`.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    # A row without an index is none: the GPU then misses in the count, which is noticed.
    numbered = [row for row in rows if len(row) == len(GPU_FIELDS) and number(row[0]) is not None]
    gpus = [_gpu(row, minors) for row in numbered]
    return tuple(sorted(gpus, key=lambda gpu: gpu.pci_bus_id))


def _gpu(row: list[str], minors: dict[str, int]) -> Gpu:
    bus_id = normal_bus_id(row[3])
    return Gpu(
        index=number(row[0]) or 0,
        uuid=row[1],
        name=row[2],
        pci_bus_id=bus_id,
        minor=minors.get(bus_id),
        driver_version=row[4],
        memory_total_mib=number(row[5]),
        memory_used_mib=number(row[6]),
        compute_cap=row[7] if re.fullmatch(r"\d+\.\d+", row[7]) else None,
        temperature_c=number(row[8]),
        persistence={"Enabled": True, "Disabled": False}.get(row[9]),
        ecc_uncorrected=number(row[10]),
        lost=is_lost(dict(zip(GPU_FIELDS, row, strict=True))),
    )


def is_lost(cells: Mapping[str, str]) -> bool:
    """Whether the driver cannot use a card any more, by fields of `--query-gpu` and what it says of each."""
    unread = any(cells.get(field) == UNREAD for field in OF_EVERY_CARD)
    return unread or any(cell in LOST for cell in cells.values())


def known_name(text: str) -> str:
    """A card's name; empty where the driver has none to say."""
    return "" if text in (*LOST, UNREAD) else text


def parse_processes(text: str) -> tuple[GpuProcess, ...]:
    """Lines of `--query-compute-apps=<APP_FIELDS> --format=csv,noheader,nounits`."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(
        GpuProcess(row[0], int(row[1]), row[2], number(row[3]))
        for row in rows
        if len(row) == len(APP_FIELDS) and row[1].isdigit()
    )


def parse_minors(text: str) -> dict[str, int]:
    """`grep -H 'Device Minor' /proc/driver/nvidia/gpus/*/information` → address to minor."""
    found = re.findall(r"gpus/([0-9a-fA-F:.]+)/information:\s*Device Minor:\s*(\d+)", text)
    return {normal_bus_id(address): int(minor) for address, minor in found}


def parse_loaded_driver(text: str) -> str | None:
    """Version out of /proc/driver/nvidia/version, of either kernel-module flavour."""
    match = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)", text)
    return match.group(1) if match else None


def parse_pci(text: str) -> tuple[str, ...]:
    """Addresses of NVIDIA GPUs out of lines `<address> <vendor> <class>` read from sysfs."""
    rows = [line.split() for line in text.splitlines()]
    return tuple(
        sorted(
            normal_bus_id(row[0])
            for row in rows
            if len(row) == 3 and row[1] == NVIDIA_VENDOR and row[2][:6] in DISPLAY_CLASSES
        )
    )


# What to ask a host, in POSIX sh, for `read_hardware`. One nvidia-smi, for each takes tens of
# milliseconds; more of them where a GPU is cut. Only shell built-ins in the PCI loop: a server has
# hundreds of PCI functions.
HARDWARE_QUESTIONS = {
    "smi": Slow(f"""{MIG_ROWS}
rows=$(nvidia-smi --query-gpu={",".join(GPU_FIELDS)} --format=csv,noheader,nounits)
code=$?
printf '%s\\n' "$rows"
case $rows in *'Enabled, Enabled'* | *'Enabled, Disabled'*) mig_rows ;; esac
exit $code"""),
    "minors": "grep -H 'Device Minor' /proc/driver/nvidia/gpus/*/information",
    "driver": "cat /proc/driver/nvidia/version",
    "uvm": "[ -d /sys/module/nvidia_uvm ]",
    "pci": """for function in /sys/bus/pci/devices/*; do
    read -r vendor <"$function/vendor" && read -r class <"$function/class" || continue
    [ "$vendor" = 0x10de ] || continue
    # A virtual function, or a card handed to virtual machines, is none of the driver's.
    [ ! -e "$function/physfn" ] || continue
    [ ! "$function/driver" -ef /sys/bus/pci/drivers/vfio-pci ] || continue
    echo "${function##*/} $vendor $class"
done; true""",
}


def read_hardware(answers: Answers) -> Hardware:
    """Answers to HARDWARE_QUESTIONS as Hardware."""
    smi = answers["smi"]
    gpus = parse_gpus(smi.text, parse_minors(answers["minors"].text)) if smi.code == 0 else ()
    return Hardware(
        gpus=gpus,
        pci_gpus=parse_pci(answers["pci"].text),
        loaded_driver=parse_loaded_driver(answers["driver"].text),
        uvm_loaded=answers["uvm"].code == 0,
        smi_code=smi.code,
        smi_message="" if gpus else " ".join(smi.lines)[:300],
        mig=read_mig(smi.text, len(GPU_FIELDS)) if gpus else (),
    )
