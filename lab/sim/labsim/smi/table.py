"""The plain table that `nvidia-smi` prints without arguments, as wide as the 550+ branches do."""

from __future__ import annotations

import time

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
    ecc = str(3 if gpu.ecc_broken else 0) if gpu.has_ecc else "N/A"
    fan = "N/A" if gpu.fan_percent is None else f"{gpu.fan_percent}%"
    power = f"{gpu.power_draw_w:.0f}W / {gpu.power_limit_w:>4.0f}W"
    memory = f"{found['memory_used_mib']}MiB / {found['memory_total_mib']:>6}MiB"
    return [
        f"| {gpu.index:>3}  {gpu.name:<30.30} {on_off:<3} | {gpu.bus_id:>18} Off |{ecc:>21} |",
        f"| {fan:>3}  {gpu.temperature_c:>3}C    {gpu.pstate:<4}{power:>22} "
        f"| {memory:>22} | {gpu.utilization_percent:>6}%      Default |",
        f"| {'':39} | {'':22} |{gpu.mig_mode or 'N/A':>21} |",
        COLUMNS,
    ]


def _processes(gpus: list[Gpu]) -> list[str]:
    rows = [(gpu.index, process) for gpu in gpus for process in gpu.processes]
    if not rows:
        return [f"|  {'No running processes found':<87}|"]
    return [
        f"|{index:>5}   N/A  N/A {process['pid']:>15}      C   "
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
