"""A frame as a machine prints it, taken apart: text becomes typed rows, and nothing is judged.

What cannot be read is missing, never a zero; garbage makes no error. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ollama_fleet.checks.gpu_values import read_xids
from ollama_fleet.checks.requests import documents
from ollama_fleet.hardware.found import parse_pci
from ollama_fleet.questions import json_object
from ollama_fleet.top.gpu_rows import GpuRow, decimal, read_rows
from ollama_fleet.top.model import DiskNow
from ollama_fleet.top.program import END

MARK = "\001"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Balancer:
    """HAProxy: slice to its state, pool to its requests (waiting, running)."""

    states: Mapping[str, str] = field(default_factory=dict)
    pools: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """All that one frame says. `cpu_busy` and `cpu_idle` are clock ticks since the boot; `ports` those
    that are listened on, with their open connections; `marks` paths to what stands in them; `spent_s`
    CPU seconds of the program so far. `disks`, `xids` and `pci` are None in quick frames, `smi_code`
    where nvidia-smi was not asked."""

    full: bool = False
    now: int | None = None
    cpus: int | None = None
    cpu_busy: int | None = None
    cpu_idle: int | None = None
    load: float | None = None
    memory_mib: int | None = None
    available_mib: int | None = None
    ports: Mapping[int, int] = field(default_factory=dict)
    gpus: tuple[GpuRow, ...] = ()
    smi_code: int | None = None
    smi_message: str = ""
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    balancer: Balancer | None = None
    log: tuple[Mapping[str, Any], ...] = ()
    log_skipped: bool = False
    disks: tuple[DiskNow, ...] | None = None
    xids: Mapping[str, tuple[int, ...]] | None = None
    pci: tuple[str, ...] | None = None
    spent_s: float | None = None


def read_frame(lines: Iterable[str]) -> Frame | None:
    """A frame of its lines; None where its end is missing."""
    parts = _parts(lines)
    if END not in parts:
        return None
    full = _text(parts, "kind") == "full"
    system = _pairs(parts.get("system", []))
    rows, code, message = read_rows(_text(parts, "columns"), parts.get("rows", []))
    return Frame(
        full=full,
        now=_integer(_text(parts, "now")),
        cpus=_first(system, "cpus"),
        cpu_busy=_first(system, "cpu"),
        cpu_idle=_integer(_at(system.get("cpu"), 1)),
        load=decimal(_at(system.get("load"), 0)),
        memory_mib=_in_mib(_first(system, "memory")),
        available_mib=_in_mib(_first(system, "available")),
        ports=_ports(parts.get("system", [])),
        gpus=rows,
        smi_code=code,
        smi_message=message,
        units=_units(parts.get("units", [])),
        models=documents("\n".join(parts.get("models", []))),
        marks=_marks(parts.get("marks", [])),
        balancer=_balancer(parts["balancer"]) if any(parts.get("balancer", [])) else None,
        log=tuple(_log(parts.get("lines", []))),
        log_skipped=_text(parts, "skipped") == "skipped",
        disks=_disks(parts.get("disk", [])) if full else None,
        xids=_xids(parts.get("xids", [])) if full else None,
        pci=parse_pci("\n".join(parts.get("pci", []))) if full and "pci" in parts else None,
        spent_s=_spent(parts.get("times", [])),
    )


def _parts(lines: Iterable[str]) -> dict[str, list[str]]:
    """Name of a part to its lines; the first of a name holds."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith(MARK):
            current = []
            parts.setdefault(line[1:], current)
        else:
            current.append(line)
    return parts


def _text(parts: Mapping[str, list[str]], name: str) -> str:
    return " ".join(parts.get(name, [])).strip()


def _pairs(lines: Iterable[str]) -> dict[str, list[str]]:
    words = [line.split() for line in lines]
    return {row[0]: row[1:] for row in words if row}


def _at(words: list[str] | None, place: int) -> str:
    return words[place] if words and place < len(words) else ""


def _first(pairs: Mapping[str, list[str]], name: str) -> int | None:
    return _integer(_at(pairs.get(name), 0))


def _integer(text: str) -> int | None:
    """awk prints large numbers as 1.2e+10."""
    value = decimal(text)
    return None if value is None else int(value)


def _in_mib(kib: int | None) -> int | None:
    return None if kib is None else kib // 1024


def _ports(lines: Iterable[str]) -> dict[int, int]:
    rows = [line.split() for line in lines if line.startswith("port ")]
    return {
        int(row[1], 16): int(row[2])
        for row in rows
        if len(row) == 3 and re.fullmatch(r"[0-9A-F]{4} [0-9]{1,7}", " ".join(row[1:]))
    }


def _units(lines: list[str]) -> dict[str, dict[str, str]]:
    blocks = "\n".join(lines).split("\n\n")
    rows = [dict(ln.split("=", 1) for ln in block.splitlines() if "=" in ln) for block in blocks]
    return {row["Id"]: row for row in rows if "Id" in row}


def _marks(lines: Iterable[str]) -> dict[str, str]:
    """Path to its lines; an empty file is there all the same."""
    found: dict[str, list[str]] = {}
    for line in lines:
        path, colon, text = line.partition(":")
        if colon and path.startswith("/"):
            found.setdefault(path, []).extend([text] if text.strip() else [])
    return {path: "\n".join(texts) for path, texts in found.items()}


def _balancer(lines: Iterable[str]) -> Balancer:
    states, pools = {}, {}
    for line in lines:
        match line.split():
            case ["slice", name, *state] if state:
                states[name] = " ".join(state)
            case ["pool", name, waiting, served] if waiting.isdecimal() and served.isdecimal():
                pools[name] = (int(waiting[:9]), int(served[:9]))
    return Balancer(states, pools)


def _log(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for line in lines:
        if row := json_object(line):
            yield row


def _disks(lines: Iterable[str]) -> tuple[DiskNow, ...]:
    """One row per file system."""
    found: dict[str, DiskNow] = {}
    for line in lines:
        row = line.split(None, 5)
        if len(row) == 6 and row[1].isdecimal() and row[3].isdecimal():
            found.setdefault(row[5], DiskNow(row[5], int(row[1]) // 1024, int(row[3]) // 1024))
    return tuple(found.values())


def _xids(lines: Iterable[str]) -> dict[str, tuple[int, ...]]:
    return {address: tuple(codes) for address, codes in read_xids("\n".join(lines)).items()}


def _spent(lines: Iterable[str]) -> float | None:
    """What `times` prints: minutes and seconds of the shell and of all that it ran."""
    found = re.findall(r"\b(\d{1,6})m(\d{1,2}(?:\.\d{1,9})?)s", " ".join(lines))
    return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in found) if found else None
