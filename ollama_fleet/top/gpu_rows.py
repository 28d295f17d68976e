"""Rows of `nvidia-smi --query-gpu` with the columns that the host named. Pure; garbage makes no error."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ollama_fleet.checks.health import SLOWED, WARM
from ollama_fleet.hardware.found import is_lost, known_name, normal_bus_id, number


@dataclass(frozen=True)
class GpuRow:
    """A row of nvidia-smi; `slowed` in words, `warm` where only the driver holds the clocks down."""

    index: int | None
    uuid: str
    name: str
    address: str
    memory_mib: int | None
    used_mib: int | None
    temperature_c: int | None
    utilization: int | None
    power_w: float | None
    power_limit_w: float | None
    cut: bool
    ecc_uncorrected: int | None
    slowed: tuple[str, ...]
    warm: tuple[str, ...]
    lost: bool


def read_rows(columns: str, lines: Iterable[str]) -> tuple[tuple[GpuRow, ...], int | None, str]:
    """Rows in PCI order, nvidia-smi's exit code (None: nobody asked), and what it said instead of rows."""
    fields, lines = columns.split(","), [line for line in lines if line.strip()]
    if not lines:
        return (), None, ""
    code = number(lines[-1].removeprefix("code ")) if lines[-1].startswith("code ") else None
    rows = [row for line in lines if (row := _gpu(fields, line))]
    said = [line for line in lines if not line.startswith("code ") and not _gpu(fields, line)]
    in_order = tuple(sorted(rows, key=lambda row: row.address))
    return in_order, code, " ".join(said)[:300]


def _gpu(fields: list[str], line: str) -> GpuRow | None:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(fields) or number(cells[0]) is None:
        return None
    of = dict(zip(fields, cells, strict=True))
    bits = next((_bits(of[name]) for name in of if name.endswith("reasons.active")), 0)
    return GpuRow(
        index=number(of.get("index", "")),
        uuid=of.get("uuid", ""),
        name=known_name(of.get("name", "")),
        address=normal_bus_id(of.get("pci.bus_id", "")),
        memory_mib=number(of.get("memory.total", "")),
        used_mib=number(of.get("memory.used", "")),
        temperature_c=number(of.get("temperature.gpu", "")),
        utilization=number(of.get("utilization.gpu", "")),
        power_w=decimal(of.get("power.draw", "")),
        power_limit_w=decimal(of.get("power.limit", "")),
        cut=of.get("mig.mode.current") == "Enabled",
        ecc_uncorrected=number(of.get("ecc.errors.uncorrected.volatile.total", "")),
        slowed=tuple(words for bit, words in SLOWED.items() if bits & bit),
        warm=tuple(words for bit, words in WARM.items() if bits & bit),
        lost=is_lost(of),
    )


def _bits(text: str) -> int:
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) else 0


def decimal(text: str) -> float | None:
    """A number that is not negative, however awk writes it."""
    return (
        float(text) if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,9})?(e\+?[0-9]{1,2})?", text) else None
    )
