"""The tables of `nvidia-smi mig`: profiles, placements and instances, as wide as the real ones."""

from __future__ import annotations

from collections.abc import Callable

from . import exits
from .view import Gpu

GIB = 1024
GI_PROFILES = [
    "| GPU instance profiles:                                                        |",
    "| GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC  |",
    "|                                Free/Total   GiB              CE    JPEG  OFA  |",
    "|===============================================================================|",
]
GPU_INSTANCES = [
    "| GPU instances:                                        |",
    "| GPU   Name             Profile  Instance   Placement  |",
    "|                          ID       ID       Start:Size |",
    "|=======================================================|",
]
COMPUTE_INSTANCES = [
    "| Compute instances:                                                 |",
    "| GPU     GPU       Name             Profile   Instance   Placement  |",
    "|       Instance                       ID        ID       Start:Size |",
    "|         ID                                                         |",
    "|====================================================================|",
]
CI_PROFILES = [
    "| Compute instance profiles:                                                           |",
    "| GPU     GPU       Name             Profile  Instances   Exclusive       Shared       |",
    "|       Instance                       ID     Free/Total     SM       DEC   ENC   OFA  |",
    "|         ID                                                          CE    JPEG       |",
    "|======================================================================================|",
]
Rows = list[str]


def show(verb: str, gpus: list[Gpu], gi: str | None) -> int:
    if verb == "-lgipp":
        print("\n".join(line for gpu in gpus for line in _placements(gpu)))
        return exits.OK
    heading, rows_of, missing = TABLES[verb]
    rows = [row for gpu in gpus for row in rows_of(gpu, gi)]
    if not rows:
        raise exits.Exit(exits.NOT_FOUND, f"No {missing} found: Not Found\n")
    line = "+" + "-" * (len(heading[0]) - 2) + "+"
    print("\n".join([line, *heading, *(f"{row}\n{line}" for row in rows)]))
    return exits.OK


def _gi_profiles(gpu: Gpu, _gi: str | None) -> Rows:
    rows = []
    for found in gpu.found["mig"]["profiles"]:
        ce, dec, enc, jpeg, ofa = found["engines"]
        memory = f"{found['memory_mib'] / GIB:.2f}"
        rows.append(
            f"| {gpu.index:>3}  MIG {found['name']:<15} {found['id']:>2}     "
            f"{found['free']}/{found['most']}        {memory:<11}No     {found['sm']:<7}"
            f"{dec:<6}{enc:<4}|\n|{'':63}{ce:<6}{jpeg:<6}{ofa:<4}|"
        )
    return rows


def _placements(gpu: Gpu) -> Rows:
    rows = []
    for found in gpu.found["mig"]["profiles"]:
        word = "Placements:" if len(found["starts"]) > 1 else "Placement :"
        starts = ",".join(map(str, found["starts"]))
        profile = f"GPU {gpu.index:>2} Profile ID {found['id']:>2}"
        rows.append(f"{profile} {word} {{{starts}}}:{found['size']}")
    return rows


def _gpu_instances(gpu: Gpu, gi: str | None) -> Rows:
    return [
        f"| {gpu.index:>3}  MIG {each['name']:<15} {each['profile_id']:>2}{each['id']:>9}"
        f"{each['start']:>11}:{each['size']}     |"
        for each in gpu.gpu_instances
        if gi in (None, str(each["id"]))
    ]


def _compute_instances(gpu: Gpu, gi: str | None) -> Rows:
    return [
        f"|{gpu.index:>4}{each['id']:>7}       MIG {ci['name']:<15} {ci['profile_id']:>2}"
        f"{ci['id']:>10}{ci['start']:>11}:{ci['size']}     |"
        for each in gpu.gpu_instances
        if gi in (None, str(each["id"]))
        for ci in each["compute"]
    ]


def _ci_profiles(gpu: Gpu, gi: str | None) -> Rows:
    rows = []
    for each in gpu.gpu_instances:
        for found in each["ci_profiles"] if gi in (None, str(each["id"])) else []:
            ce, dec, enc, jpeg, ofa = found["engines"]
            star = "*" if found["is_default"] else " "
            rows.append(
                f"|{gpu.index:>4}{each['id']:>7}       MIG {found['name']:<15} {found['id']:>2}"
                f"{star}     {found['free']}/{found['most']}           {found['sm']:<10}"
                f"{dec:<6}{enc:<6}{ofa:<4}|\n|{'':70}{ce:<6}{jpeg:<10}|"
            )
    return rows


TABLES: dict[str, tuple[list[str], Callable[[Gpu, str | None], Rows], str]] = {
    "-lgip": (GI_PROFILES, _gi_profiles, "GPU instance profiles"),
    "-lgi": (GPU_INSTANCES, _gpu_instances, "GPU instances"),
    "-lci": (COMPUTE_INSTANCES, _compute_instances, "compute instances"),
    "-lcip": (CI_PROFILES, _ci_profiles, "GPU instances"),
}
