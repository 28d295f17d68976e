"""Whether a host has room for its models: disk before anything is downloaded, RAM as advice.

Questions and a pure judgement; imports the catalogue, sizing, the store's names and planner types,
never pyinfra. Models that the catalogue does not know are left out of the sums.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_fleet.catalogue import Model, UnknownModel, find_model
from ollama_fleet.planner.plan import MODELS_DIR, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.sizing import download_bytes, host_needs
from ollama_fleet.store import parse_name

GIB = 2**30

QUESTIONS = {
    "disk": f"""folder={MODELS_DIR}
while [ ! -d "$folder" ]; do folder=${{folder%/*}}/; folder=${{folder%/}}; [ -n "$folder" ] || folder=/; done
df -PB1 "$folder" | tail -n 1""",
    "memory": "grep MemTotal /proc/meminfo",
    "stored": f"cd {MODELS_DIR}/manifests 2>/dev/null && find . -type f; true",
}


@dataclass(frozen=True)
class Room:
    """Free bytes where models go, all of the host's RAM in bytes, and manifests that are there.

    A figure is None where the host did not tell it.
    """

    free_bytes: int | None
    ram_bytes: int | None
    stored: frozenset[str]


NOTHING_KNOWN = Room(None, None, frozenset())


def read_room(answers: Answers) -> Room:
    """Answers to QUESTIONS."""
    disk, memory = answers["disk"].text.split(), answers["memory"].text.split()
    return Room(
        free_bytes=int(disk[3]) if len(disk) >= 6 and disk[3].isdigit() else None,
        ram_bytes=int(memory[1]) * 1024 if len(memory) == 3 else None,
        stored=frozenset(line.removeprefix("./") for line in answers["stored"].lines),
    )


def disk_problems(plan: HostPlan, room: Room) -> list[str]:
    """Too little disk for what has still to be pulled; empty when there is enough."""
    missing = [name for name in plan.models if parse_name(name).path not in room.stored]
    models = known_models(missing)
    wanted = download_bytes(models)
    if room.free_bytes is None or not models or wanted <= room.free_bytes:
        return []
    largest = max(models, key=lambda model: model.file_bytes)
    return [
        f"{len(models)} models to pull need {wanted / GIB:.1f} GiB, and {room.free_bytes / GIB:.1f} "
        f"GiB are free at {MODELS_DIR}; make room, mount a larger disk there, or leave models out "
        f"(the largest is {largest.tag}, {largest.file_bytes / GIB:.1f} GiB)"
    ]


def ram_advice(plan: HostPlan, room: Room) -> list[str]:
    """Too little RAM to serve at ease: no reason to stop, but worth saying."""
    models = known_models(model for item in plan.slices for model in item.models)
    need = host_needs(models).ram
    if room.ram_bytes is None or not models or room.ram_bytes >= need.comfortable * 2**20:
        return []
    return [
        f"{room.ram_bytes / GIB:.0f} GiB of RAM; {need.comfortable / 1024:.0f} would be at ease "
        f"({need.least / 1024:.0f} at least): {need.reason}"
    ]


def known_models(names: Iterable[str]) -> list[Model]:
    """Those of `names` that the catalogue has."""
    found = []
    for name in names:
        try:
            found.append(find_model(name.removesuffix(":latest")))
        except UnknownModel:
            continue
    return found
