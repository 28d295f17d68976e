"""What a host says of its GPUs beside the usual: the values of nvidia-smi and the kernel's Xids that tell
their health. Asks and reads; `health` judges.

One unknown field fails a whole query, so one that fails is repeated with another generation's fields,
then field by field.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.checks.model import Subject
from ollama_fleet.hardware.found import Gpu, normal_bus_id, number
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
REMAPPED = (
    "remapped_rows.pending",
    "remapped_rows.failure",
    "remapped_rows.correctable",
    "remapped_rows.uncorrectable",
)


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
class Seen:
    """What is known of one GPU beside the usual: nvidia-smi's values by field, and its Xids."""

    gpu: Gpu
    values: Mapping[str, str]
    xids: Sequence[int] = ()

    def count(self, field: str) -> int | None:
        """A field that counts or says yes or no: as a number, None where the card does not tell."""
        value = self.values.get(field, "")
        return {"Yes": 1, "No": 0}.get(value, number(value))


def seen_gpus(subject: Subject) -> list[Seen]:
    """Every GPU of a host with what is known of it."""
    tables = [read_table(subject.text(f"health.{name}")) for name in ("gpus", "rows")]
    xids = read_xids(subject.text("health.xids"))
    return [
        Seen(
            gpu,
            {key: value for table in tables for key, value in table.get(gpu.uuid, {}).items()},
            xids.get(gpu.pci_bus_id, []),
        )
        for gpu in subject.hardware.gpus
    ]
