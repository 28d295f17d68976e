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
from ollama_fleet.store import parse_name, wanted_blobs

GIB = 2**30


def room_questions(models_dir: str = MODELS_DIR) -> dict[str, str]:
    """What to ask a host whose model store is at `models_dir`."""
    return {
        "disk": f"""folder={models_dir}
while [ ! -d "$folder" ]; do folder=${{folder%/*}}/; folder=${{folder%/}}; [ -n "$folder" ] || folder=/; done
df -PB1 "$folder" | tail -n 1""",
        "memory": "grep MemTotal /proc/meminfo",
        "stored": f"cd {models_dir}/manifests 2>/dev/null && find . -type f; true",
        "begun": f"cd {models_dir}/fetch 2>/dev/null && du -sB1 .; true",
    }


@dataclass(frozen=True)
class Room:
    """Free bytes where models go, all of the host's RAM in bytes, manifests that are there, and bytes
    of downloads that were begun.

    A figure is None where the host did not tell it.
    """

    free_bytes: int | None
    ram_bytes: int | None
    stored: frozenset[str]
    begun_bytes: int = 0


NOTHING_KNOWN = Room(None, None, frozenset())


def read_room(answers: Answers) -> Room:
    """Answers to `room_questions`."""
    disk, memory = answers["disk"].text.split(), answers["memory"].text.split()
    begun = answers["begun"].text.split()
    return Room(
        free_bytes=int(disk[3]) if len(disk) >= 6 and disk[3].isdigit() else None,
        ram_bytes=int(memory[1]) * 1024 if len(memory) == 3 else None,
        stored=frozenset(line.removeprefix("./") for line in answers["stored"].lines),
        begun_bytes=int(begun[0]) if len(begun) == 2 and begun[0].isdigit() else 0,
    )


def disk_problems(plan: HostPlan, room: Room) -> list[str]:
    """Too little disk for what has still to be pulled; empty when there is enough."""
    missing = [name for name in plan.models if parse_name(name).path not in room.stored]
    wanted = _wanted_bytes(plan, missing) - room.begun_bytes
    if room.free_bytes is None or wanted <= room.free_bytes:
        return []
    sized = [name for name in missing if _wanted_bytes(plan, [name])]
    largest = max(sized, key=lambda name: _wanted_bytes(plan, [name]))
    return [
        f"{len(sized)} models to pull need {wanted / GIB:.1f} GiB, and {room.free_bytes / GIB:.1f} "
        f"GiB are free at {plan.store.path}; make room, set `models: {{path: …}}` to a larger disk, or "
        f"leave models out (the largest is {largest}, "
        f"{_wanted_bytes(plan, [largest]) / GIB:.1f} GiB)"
    ]


def _wanted_bytes(plan: HostPlan, names: Iterable[str]) -> int:
    """What bringing these takes: exact where they are locked, else by the catalogue, each file once; of
    files that Ollama makes models of, the file and the two copies that it writes meanwhile."""
    names = list(names)
    blobs: dict[str, int] = {}
    rest = []
    for name in names:
        locked = plan.store.lock_of(name)
        found = wanted_blobs(locked.manifest) if locked else None
        blobs |= found or {}
        if found is None:
            rest.append(name)
    made = {model.source: 3 * model.file_bytes for model in plan.custom if model.name in names}
    return sum(blobs.values()) + sum(made.values()) + download_bytes(known_models(rest))


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
