"""MIG mode and instances of a host's GPUs, as nvidia-smi shows them.

No single output of nvidia-smi has all of it: `-lgi` has placements, `-lci` whether an instance can
compute, `-L` the UUIDs by device index, and the XML which instance has which device index. `MIG_ROWS`
joins them on the host; the host's own script uses the same text. UUIDs are never kept: they may change
each time instances are made. Imports nothing of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Fields of `nvidia-smi --query-gpu`: is MIG on, and will it be after the next reset.
MODE_FIELDS = ("mig.mode.current", "mig.mode.pending")
# A compute instance that is not the whole of its GPU instance (1c.3g.20gb) is none of ours. Attributes
# (+me, +gfx, -me) are not shown everywhere, so names are compared without them. Where the XML has no
# MIG devices, devices are numbered in the order of their GPU instances' ids, as nvidia-smi does.
_JOIN = r"""
    function base(name) { sub(/[+-].*/, "", name); return name }
    function value(line) { split(line, part, /[<>]/); return part[3] }
    $1 == "|" && $3 == "MIG" { gi[$2 " " $6] = $4; place[$2 " " $6] = $7 }
    $1 == "|" && $4 == "MIG" { cis[$2 " " $3]++; ci[$2 " " $3] = $7; whole[$2 " " $3] = $5 }
    /^GPU [0-9]+:/ { gpu = $2 + 0 }
    $1 == "MIG" && $3 == "Device" {
        name[gpu " " $4 + 0] = $2
        uuid[gpu " " $4 + 0] = substr($6, 1, length($6) - 1)
    }
    /<gpu id=/ { nth++ }
    /<mig_device>/ { within = 1; total = "" }
    within && /<index>/ { at = value($0) }
    within && /<gpu_instance_id>/ { its = value($0) }
    within && /<total>/ && total == "" { total = value($0) + 0 }
    /<\/mig_device>/ { within = 0; key = nth - 1 " " its; index_of[key] = at; mib[key] = total }
    END {
        for (key in gi) {
            split(key, id, " "); split(place[key], span, ":")
            if (key in index_of) device = index_of[key]
            else {
                device = 0
                for (other in cis) {
                    split(other, also, " ")
                    if (also[1] == id[1] && also[2] + 0 < id[2] + 0) device += cis[other]
                }
            }
            device = id[1] " " device
            usable = cis[key] == 1 && base(whole[key]) == base(gi[key])
            found = usable && base(name[device]) == base(gi[key])
            print id[1], span[1], span[2], gi[key], id[2], usable ? ci[key] : "-", \
                found ? uuid[device] : "-", mib[key] ? mib[key] : "-"
        }
    }"""
# One line per instance, by GPU and placement: GPU, start, size, profile, GPU instance's id, compute
# instance's id, UUID, MiB. What is not there is a dash.
MIG_ROWS = f"""mig_rows() {{
    {{
        nvidia-smi mig -lgi
        nvidia-smi mig -lci
        nvidia-smi -L
        nvidia-smi -q -x
    }} 2>/dev/null | awk '{_JOIN}' | sort -k 1,1n -k 2,2n
}}"""
_ENABLED = {"Enabled": True, "Disabled": False}


@dataclass(frozen=True)
class MigInstance:
    """One GPU instance. `ci` is None when it has no compute instance of its full size: nothing can
    run on it; `uuid` is None when nvidia-smi does not list it as a device."""

    profile: str
    start: int
    gi: int
    ci: int | None
    uuid: str | None
    memory_mib: int | None


@dataclass(frozen=True)
class MigGpu:
    """MIG of the GPU of this index in nvidia-smi. Modes are None where the card has no MIG."""

    index: int
    current: bool | None = None
    pending: bool | None = None
    instances: tuple[MigInstance, ...] = ()

    @property
    def capable(self) -> bool:
        """Whether the card knows MIG."""
        return self.current is not None

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profiles of the instances that something can run on, in the order of their names."""
        return tuple(sorted(item.profile for item in self.instances if item.ci is not None))

    def instance(self, profile: str, nth: int) -> MigInstance | None:
        """The `nth` instance of a profile by placement, from 0."""
        alike = [item for item in self.instances if item.profile == profile and item.uuid]
        return alike[nth] if nth < len(alike) else None

    def holds(self, profiles: Sequence[str]) -> bool:
        """Whether it is cut into exactly these instances, in any placement."""
        usable = all(item.uuid and item.ci is not None for item in self.instances)
        return self.current is True and usable and sorted(profiles) == list(self.profiles)


def read_mig(text: str, columns: int) -> tuple[MigGpu, ...]:
    """Rows of `--query-gpu` with so many columns, index first and MODE_FIELDS last; after them the
    lines of `mig_rows`."""
    instances: dict[int, list[MigInstance]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 8 and words[0].isdigit() and words[4].isdigit():
            instances.setdefault(int(words[0]), []).append(_instance(words))
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(
        MigGpu(
            int(row[0]),
            _ENABLED.get(row[-2]),
            _ENABLED.get(row[-1]),
            tuple(instances.get(int(row[0]), ())),
        )
        for row in rows
        if len(row) == columns and row[0].isdigit()
    )


def _instance(words: list[str]) -> MigInstance:
    numbers = [int(word) if word.isdigit() else None for word in words]
    return MigInstance(
        profile=words[3],
        start=numbers[1] or 0,
        gi=numbers[4] or 0,
        ci=numbers[5],
        uuid=None if words[6] == "-" else words[6],
        memory_mib=numbers[7],
    )
