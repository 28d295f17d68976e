"""What slices were handed when they had an instance, and keep although they have none: drop-ins below
/run. They go over the unit's own GPU, and where no GPU is cut any more the script that wrote them is
gone, too. Pure."""

import shlex
from collections.abc import Mapping, Sequence

from ollama_fleet.mig.layout import DROP_IN, DROP_INS
from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.questions import Answers

LEFTOVER_QUESTION = {
    "drop-ins": f"ls {DROP_INS}/ollama-*.service.d/{DROP_IN} 2>/dev/null; true",
}


def leftovers(answers: Answers, bound: Sequence[BoundSlice]) -> dict[str, str]:
    """The answer to LEFTOVER_QUESTION: unit to drop-in, of units that are not on an instance."""
    seated = {item.plan.unit for item in bound if item.seat}
    found = {path.split("/")[-2].removesuffix(".d"): path for path in answers["drop-ins"].lines}
    return {unit: path for unit, path in found.items() if unit not in seated}


def remove_leftovers(found: Mapping[str, str]) -> list[str]:
    """Steps that remove them; systemd has to be reloaded afterwards."""
    if not found:
        return []
    files = [shlex.quote(path) for path in found.values()]
    folders = [shlex.quote(path.rpartition("/")[0]) for path in found.values()]
    return [
        f"say 'no MIG instance any more for '{' '.join(map(shlex.quote, found))}",
        f"rm -f {' '.join(files)}",
        f"rmdir --ignore-fail-on-non-empty {' '.join(folders)}",
    ]
