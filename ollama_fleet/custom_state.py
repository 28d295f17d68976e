"""Custom models on a host: what is asked about them, which have to be made, and the shell that does it.

Pure text. Beside the store's blobs and manifests lies a stamp for each (`custom/<name>`): what it was
made of, and which manifest came of it. It is written last, so that whatever was cut off is done again.
Values in stamps hold no colon.
"""

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ollama_fleet.fetching import FETCH_SCRIPT
from ollama_fleet.planner.custom import CustomModel
from ollama_fleet.planner.plan import LOADER_UNIT, USER, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.store import parse_name
from ollama_fleet.templating import TEMPLATES

STAMPS = "custom stamps"
MANIFESTS = "custom manifests"
HOST_FILES = "custom files"
# Begins the names of lists of files that were tried for a model, beside the stamps.
TRIED = ".source-"
# The name under which a model is made before it takes its own.
MAKING = "ollama-fleet/new"

Stamp = Mapping[str, str]


@dataclass(frozen=True)
class CustomState:
    """Custom models that have to be made, in this order; those of them whose file is not in the store
    yet; and those that are as they should be, beside files of tries that failed."""

    to_make: tuple[CustomModel, ...] = ()
    lacking: tuple[CustomModel, ...] = ()
    to_tidy: tuple[CustomModel, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.to_make or self.to_tidy)


def custom_questions(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about its custom models; nothing where it has none."""
    if not plan.custom:
        return {}
    store = plan.store.path
    paths = dict.fromkeys(parse_name(name).path for name in _names(plan.custom))
    files = dict.fromkeys(model.source for model in plan.custom if model.kind == "host")
    return {
        STAMPS: f"cd {store}/custom 2>/dev/null && grep -sH '' * {TRIED}*; true",
        MANIFESTS: f"cd {store}/manifests 2>/dev/null && "
        f"sha256sum {shlex.join(paths)} 2>/dev/null; true",
        **(
            {HOST_FILES: f"stat -L -c '%n %s %.9Y %i' {shlex.join(files)} 2>/dev/null; true"}
            if files
            else {}
        ),
    }


def _names(models: Iterable[CustomModel]) -> list[str]:
    models = list(models)
    return [*(m.name for m in models), *(m.source for m in models if m.kind == "from")]


def definition(model: CustomModel) -> str:
    """Digest (hex) of everything that a person said of a model; a file is what it holds, wherever it is."""
    where = None if model.sha256 else [model.kind, model.source]
    said = [1, model.request, model.sha256, where]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def read_custom(
    plan: HostPlan, answers: Answers, sound: Mapping[str, int], whole: frozenset[str]
) -> CustomState:
    """Answers to `custom_questions`.

    + sound: file name to bytes of the blobs that are there as they were when they were hashed
    + whole: models all of whose blobs are among them
    """
    if not plan.custom:
        return CustomState()
    stamps = _stamps(answers[STAMPS].lines)
    digests = _digests(answers[MANIFESTS].lines)
    files = answers[HOST_FILES].lines if HOST_FILES in answers else []
    seen = {row[0]: row[1] for line in files if len(row := line.split(maxsplit=1)) == 2}
    to_make: list[CustomModel] = []
    for model in plan.custom:
        stamp = stamps.get(stamp_name(model.name), {})
        again = {other.name for other in to_make}
        made = model.name in whole and _is_made(model, stamp, digests, seen)
        if not made or (model.kind == "from" and model.source in again):
            to_make.append(model)
    # What Ollama made of a file stands for it.
    there = {
        row[0]
        for stamp in stamps.values()
        if len(row := stamp.get("source", "").split()) == 2 and f"sha256-{row[1]}" in sound
    }
    lacking = [m for m in to_make if m.sha256 not in there and f"sha256-{m.sha256}" not in sound]
    tried = [m for m in plan.custom if m not in to_make and TRIED + stamp_name(m.name) in stamps]
    return CustomState(tuple(to_make), tuple(m for m in lacking if m.kind != "from"), tuple(tried))


def missing_host_files(plan: HostPlan, answers: Answers, state: CustomState) -> list[str]:
    """Files that should lie on the host, and do not, of models that have to be made."""
    files = answers[HOST_FILES].lines if HOST_FILES in answers else []
    there = {line.split(maxsplit=1)[0] for line in files}
    return [
        f"{model.name}: there is no {model.source} on this host; put it there, or correct "
        "`custom_models` in the inventory"
        for model in state.lacking
        if model.kind == "host" and model.source not in there
    ]


def stamp_name(name: str) -> str:
    """The stamp's file of a model, below the store's `custom/`."""
    return name.replace("/", "+")


def _stamps(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """`<file>:<key> <value>` lines; a file's name may hold colons, a value may not."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        name, _, rest = line.rpartition(":")
        key, _, value = rest.partition(" ")
        found.setdefault(name, {})[key] = value
    return found


def _digests(lines: Iterable[str]) -> dict[str, str]:
    rows = [line.split(maxsplit=1) for line in lines]
    return {row[1]: row[0] for row in rows if len(row) == 2}


def _is_made(
    model: CustomModel, stamp: Stamp, digests: Mapping[str, str], seen: Mapping[str, str]
) -> bool:
    """Whether what was made is what is asked for now, and still what was made."""
    manifest = digests.get(parse_name(model.name).path)
    same = stamp.get("definition") == definition(model) and manifest == stamp.get("manifest", "")
    if model.kind == "from":
        return same and digests.get(parse_name(model.source).path) == stamp.get("base", "")
    if model.kind == "host" and model.sha256 is None:
        return same and seen.get(model.source) == stamp.get("seen", "")
    return same


def make_steps(plan: HostPlan, state: CustomState) -> list[str]:
    """Steps of a change script that make what has to be made, of files that are in the store or beside
    it, and tidy up after tries that failed."""
    values = {
        "store": plan.store.path,
        "user": USER,
        "fetch": FETCH_SCRIPT,
        "loader": LOADER_UNIT,
        "loader_port": plan.loader_port,
        "servers": " ".join(f"{item.port}:{item.unit}" for item in plan.slices),
        "drain_timeout_s": plan.provision.drain_timeout_s,
        "load_timeout_s": plan.verify_timeout_s,
    }
    settings = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
    tidy = [f"tidy_up {shlex.quote(model.name)}" for model in state.to_tidy]
    return ["\n".join(settings), _program(), *map(_make, state.to_make), *tidy]


@lru_cache(maxsize=1)
def _program() -> str:
    return (TEMPLATES / "custom" / "make.sh").read_text(encoding="utf-8")


def _make(model: CustomModel) -> str:
    where = parse_name(model.source).path if model.kind == "from" else model.source
    words = (
        *(model.name, parse_name(model.name).path, definition(model), model.kind, where),
        *(model.sha256 or "-", base64.b64encode(request(model).encode()).decode()),
    )
    return f"make {shlex.join(words)}"


def request(model: CustomModel) -> str:
    """The JSON that Ollama is asked; without `files`, which the host knows."""
    origin = {"from": model.source} if model.kind == "from" else {}
    return json.dumps({"model": MAKING, **origin, **json.loads(model.request)})
