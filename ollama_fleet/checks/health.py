"""Each GPU: it answers, its memory is sound, nothing slows it down, nobody logged a fault.

What nvidia-smi does not know on a card or driver is never judged. One unknown field fails a whole
query, so one that fails is repeated with another generation's fields, then field by field.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.hardware import Gpu, normal_bus_id, number
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Slow

FIELDS = (
    "retired_pages.pending",
    "clocks_event_reasons.active",
    "pcie.link.width.current",
    "pcie.link.width.max",
)
# Drivers from 575 on know the first and have forgotten the second; older ones the other way round.
RECOVERY = (("gpu_recovery_action",), ("reset_status.reset_required",))
REMAPPED = ("remapped_rows.pending", "remapped_rows.failure")

# Bits of clocks_event_reasons.active. Power caps are no trouble: they are how a card works.
SLOWED = {
    0x8: "slowed down by its hardware",
    0x40: "too hot: slowed down by its hardware",
    0x80: "slowed down by the power supply",
}
WARM = {0x20: "warm: the driver holds its clocks down"}

XIDS = {
    **dict.fromkeys((13, 31, 43, 45), "a program's fault"),
    48: "double-bit memory error",
    63: "a memory row is to be replaced at the next reset",
    64: "a memory row could not be replaced",
    74: "NVLink error",
    79: "fell off the bus",
    94: "memory error, contained",
    95: "memory error, uncontained",
    119: "GSP firmware does not answer",
    120: "GSP firmware error",
    154: "asks to be reset",
}
DRAIN = "drain its slice, reset the GPU or reboot; if it comes back, replace the card"


def _table(
    option: str, id_field: str, fields: Sequence[str], either: Sequence[Sequence[str]]
) -> str:
    """A query whose rows say themselves which fields they hold: `fields` with one of `either`'s groups at
    once, else what can be had field by field."""
    tries = "\n".join(f"table {','.join((*fields, *group))} && exit" for group in either)
    every = " ".join([*fields, *(field for group in either for field in group)])
    return f"""table() {{ rows=$(nvidia-smi --query-{option}={id_field},$1 \\
    --format=csv,noheader,nounits) && echo "#$1" && echo "$rows"; }}
{tries}
command -v nvidia-smi >/dev/null || exit
for field in {every}; do table "$field"; done
true"""


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about the health of its GPUs."""
    return {
        "health.gpus": Slow(_table("gpu", "uuid", FIELDS, RECOVERY)),
        "health.rows": Slow(_table("remapped-rows", "gpu_uuid", REMAPPED, ((),))),
        # Since the driver was loaded last: what was before is mended, or shows in the values.
        "health.xids": "journalctl -q -b -t kernel -o cat --no-pager 2>/dev/null "
        "| grep -E 'NVRM: Xid|loading NVIDIA' | tail -n 200; true",
    }


def read_table(text: str) -> dict[str, dict[str, str]]:
    """Rows under `#field,field,…` lines: UUID to field to value."""
    found: dict[str, dict[str, str]] = {}
    fields: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if line.startswith("#"):
            fields = line[1:].split(",")
        elif len(cells) == len(fields) + 1:
            found.setdefault(cells[0], {}).update(zip(fields, cells[1:], strict=True))
    return found


def read_xids(text: str) -> dict[str, list[int]]:
    """PCI address to the Xids that it had since the driver was loaded, each once."""
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        if "loading NVIDIA" in line:
            found = {}
        match = re.search(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)", line)
        if match:
            address = match[1] if "." in match[1] else f"{match[1]}.0"
            codes = found.setdefault(normal_bus_id(address), [])
            if int(match[2]) not in codes:
                codes.append(int(match[2]))
    return found


@dataclass(frozen=True)
class Health:
    """One GPU: what has to be mended, and what is worth knowing."""

    trouble: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def health_of(gpu: Gpu, values: dict[str, str], xids: list[int]) -> Health:
    """Judge one GPU by nvidia-smi's values and the Xids of its driver's lifetime."""
    reasons = _bits(values.get("clocks_event_reasons.active", ""))
    return Health(
        (*_memory_and_state(gpu, values), *(text for bit, text in SLOWED.items() if reasons & bit)),
        (
            *(text for bit, text in WARM.items() if reasons & bit),
            *_narrow(values),
            *(f"Xid {code} since its driver was loaded ({_meaning(code)})" for code in xids),
        ),
    )


def _memory_and_state(gpu: Gpu, values: dict[str, str]) -> Iterator[str]:
    if gpu.lost:
        yield "lost: it does not answer the driver"
    if gpu.ecc_uncorrected:
        yield f"{gpu.ecc_uncorrected} uncorrected ECC errors since the driver loaded"
    if _holds(values, "remapped_rows.failure"):
        yield "a memory row could not be replaced"
    if _holds(values, "remapped_rows.pending"):
        yield "a memory row is replaced at the next reset"
    if _holds(values, "retired_pages.pending"):
        yield "memory pages are retired at the next reset"
    if _holds(values, "reset_status.reset_required"):
        yield "wants a reset"
    action = values.get("gpu_recovery_action", "None")
    if action not in ("None", "") and not action.startswith(("[", "N/A")):
        yield f"wants: {action}"


def _holds(values: dict[str, str], field: str) -> bool:
    """`Yes` (drivers from 580 on) or a number above 0 (550 and before)."""
    value = values.get(field, "")
    return value == "Yes" or bool(number(value))


def _narrow(values: dict[str, str]) -> Iterator[str]:
    width = number(values.get("pcie.link.width.current", ""))
    most = number(values.get("pcie.link.width.max", ""))
    if width and most and width < most:
        yield f"{width} of {most} PCIe lanes: models load slower; check the slot and the riser"


def _bits(text: str) -> int:
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", text) else 0


def _meaning(code: int) -> str:
    return XIDS.get(code, "see NVIDIA's list of Xids")


def _health(subject: Subject) -> Iterator[CheckResult]:
    tables = [read_table(subject.text(f"health.{name}")) for name in ("gpus", "rows")]
    xids = read_xids(subject.text("health.xids"))
    for gpu in subject.hardware.gpus:
        values = {key: value for table in tables for key, value in table.get(gpu.uuid, {}).items()}
        health = health_of(gpu, values, xids.get(gpu.pci_bus_id, []))
        said = health.trouble + health.advice
        yield subject.result(
            f"gpu {gpu.pci_bus_id}",
            "gpu health",
            good=not said,
            expected="answers, sound memory, full clocks, no faults logged",
            found="; ".join(said) or f"{gpu.name}, {gpu.temperature_c} °C",
            remedy=DRAIN if health.trouble else "look at it when there is time; it serves",
            warns=not health.trouble,
        )


CHECKS = (Check("gpu health", _health, asked),)
