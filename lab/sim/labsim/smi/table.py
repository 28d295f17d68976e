"""The plain table that `nvidia-smi` prints without arguments, as wide as the 550+ branches do."""

from __future__ import annotations

import time
from typing import Any

from . import exits
from .view import Gpu, Host

WIDE = "+" + "-" * 89 + "+"
COLUMNS = "+" + "-" * 41 + "+" + "-" * 24 + "+" + "-" * 22 + "+"
HEADINGS = [
    "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
    "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
    "|                                         |                        |               MIG M. |",
    "|" + "=" * 41 + "+" + "=" * 24 + "+" + "=" * 22 + "|",
]
MIG_COLUMNS = "+" + "-" * 18 + "+" + "-" * 34 + "+" + "-" * 11 + "+" + "-" * 23 + "+"
MIG_HEADINGS = [
    "| MIG devices:                                                                            |",
    MIG_COLUMNS,
    "| GPU  GI  CI  MIG |              Shared Memory-Usage |        Vol|        Shared         |",
    "|      ID  ID  Dev |                Shared BAR1-Usage | SM     Unc| CE ENC  DEC  OFA  JPG |",
    "|                  |                                  |        ECC|                       |",
    "|" + "=" * 18 + "+" + "=" * 34 + "+" + "=" * 11 + "+" + "=" * 23 + "|",
]
BAR1_MIB = 98304
COMPUTE_MODES = {
    "Default": "Default",
    "Exclusive_Process": "E. Process",
    "Prohibited": "Prohibited",
}
PROCESS_HEADINGS = [
    "| Processes:                                                                              |",
    "|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |",
    "|        ID   ID                                                               Usage      |",
    "|" + "=" * 89 + "|",
]


def show(host: Host, wanted: str | None) -> int:
    gpus = host.select(wanted)
    lost = [gpu for gpu in gpus if gpu.lost]
    if lost:
        raise exits.Exit(exits.GPU_LOST, "".join(map(_lost, lost)))
    lines = [time.strftime("%a %b %e %H:%M:%S %Y       "), *_head(host)]
    for gpu in gpus:
        lines += _gpu(gpu)
    lines += _mig_section([gpu for gpu in gpus if gpu.in_mig])
    lines += ["", WIDE, *PROCESS_HEADINGS, *_processes(gpus), WIDE]
    print("\n".join(lines))
    return exits.OK


def _head(host: Host) -> list[str]:
    version, cuda = host.driver_version, host.cuda_version
    line = f"| NVIDIA-SMI {version:<22} Driver Version: {version:<14} CUDA Version: {cuda:<8} |"
    return [WIDE, line, COLUMNS, *HEADINGS]


def _gpu(gpu: Gpu) -> list[str]:
    found = gpu.found
    on_off = "On" if found["persistence"] else "Off"
    ecc = str(3 if gpu.ecc_broken else 0) if gpu.ecc_enabled else "Off" if gpu.has_ecc else "N/A"
    ecc = "On" if gpu.in_mig else ecc
    load = "N/A" if gpu.utilization_percent is None else f"{gpu.utilization_percent}%"
    mode = COMPUTE_MODES[found["compute_mode"]]
    fan = "N/A" if gpu.fan_percent is None else f"{gpu.fan_percent}%"
    power = f"{gpu.power_draw_w:.0f}W / {gpu.power_limit_w:>4.0f}W"
    memory = f"{found['memory_used_mib']}MiB / {found['memory_total_mib']:>6}MiB"
    return [
        f"| {gpu.index:>3}  {gpu.name:<30.30} {on_off:<3} | {gpu.bus_id:>18} Off |{ecc:>21} |",
        f"| {fan:>3}  {gpu.temperature_c:>3}C    {gpu.pstate:<4}{power:>22} "
        f"| {memory:>22} | {load:>7} {mode:>12} |",
        f"| {'':39} | {'':22} |{_mig_mode(gpu):>21} |",
        COLUMNS,
    ]


def _mig_mode(gpu: Gpu) -> str:
    """A star marks a mode that waits for a reset."""
    current, pending = gpu.mig_mode("current"), gpu.mig_mode("pending")
    return (current or "N/A") + ("*" if current != pending else "")


def _mig_section(gpus: list[Gpu]) -> list[str]:
    if not gpus:
        return []
    lines = ["", WIDE, *MIG_HEADINGS]
    rows = [(gpu.index, device) for gpu in gpus for device in gpu.mig_devices]
    for index, device in rows:
        lines += _mig_device(index, device)
    return lines if rows else [*lines, f"|  {'No MIG devices found':<87}|", WIDE]


def _mig_device(index: int, device: dict[str, Any]) -> list[str]:
    ce, dec, enc, jpeg, ofa = device["engines"]
    memory = f"{device['memory_used_mib']}MiB / {device['memory_total_mib']:>5}MiB"
    bar1 = f"0MiB / {int(BAR1_MIB * device['share']):>5}MiB"
    return [
        f"|{index:>3}{device['gi']:>5}{device['ci']:>4}{device['index']:>4}  |{memory:>30}    "
        f"|{device['sm']:>3}      0 |{ce:>3}{enc:>4}{dec:>5}{ofa:>5}{jpeg:>5} |",
        f"|{'':18}|{bar1:>30}    |{'':11}|{'':23}|",
        MIG_COLUMNS,
    ]


def _processes(gpus: list[Gpu]) -> list[str]:
    rows = [(gpu.index, process) for gpu in gpus for process in gpu.processes]
    if not rows:
        return [f"|  {'No running processes found':<87}|"]
    return [
        f"|{index:>5}{process.get('gi', 'N/A'):>6}{process.get('ci', 'N/A'):>5} "
        f"{process['pid']:>15}      C   "
        f"{_shortened(process['name']):<35}{process['used_mib']:>8}MiB |"
        for index, process in rows
    ]


def _shortened(name: str) -> str:
    return name if len(name) <= 34 else "..." + name[-31:]


def _lost(gpu: Gpu) -> str:
    return (
        f"Unable to determine the device handle for GPU{gpu.index}: {gpu.bus_id}: GPU is lost.  "
        "Reboot the system to recover this GPU\n"
    )
