"""`nvidia-smi topo -m`: how the GPUs reach each other."""

from __future__ import annotations

from ..machine import numa_node
from . import exits
from .view import Gpu, Host

# The header is underlined even in a pipe: readers have to strip that, here as on a real host.
UNDERLINE, PLAIN = "\x1b[4m", "\x1b[0m"
NVLINKS = {"Ampere": 12, "Hopper": 18, "Blackwell": 18}
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""


def show(host: Host, arguments: list[str]) -> int:
    if arguments not in (["-m"], ["--matrix"]):
        raise exits.invalid_option(" ".join(["topo", *arguments]))
    names = [f"GPU{gpu.index}" for gpu in host.gpus]
    heading = "\t".join([*names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])
    print(f"\t{UNDERLINE}{heading}{PLAIN}")
    for gpu in host.gpus:
        cells = [_link(host, gpu, other) for other in host.gpus]
        node = numa_node(gpu.index, len(host.gpus))
        print("\t".join([f"GPU{gpu.index}", *cells, _cpus(host, node), str(node), "", "N/A"]))
    print(LEGEND)
    return exits.OK


def _link(host: Host, one: Gpu, other: Gpu) -> str:
    if one.index == other.index:
        return " X "
    if host.snapshot["nvswitch"]:
        return f"NV{NVLINKS.get(one.found.get('architecture', ''), 18)}"
    count = len(host.gpus)
    if numa_node(one.index, count) != numa_node(other.index, count):
        return "SYS"
    return "PIX" if one.index // 2 == other.index // 2 and count > 2 else "PHB"


def _cpus(host: Host, node: int) -> str:
    cpus = host.snapshot["cpus"]
    if len(host.gpus) <= 4:
        return f"0-{cpus - 1}"
    half = cpus // 2
    return f"0-{half - 1}" if node == 0 else f"{half}-{cpus - 1}"
