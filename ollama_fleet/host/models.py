"""The model store of a host: what is missing, broken or not wanted any more is put right by the host
itself, in a unit of its own; here is decided whether it has to, and waited for it."""

import shlex
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.state import StateStage

from ollama_fleet.custom_state import (
    CustomState,
    custom_questions,
    missing_host_files,
    read_custom,
)
from ollama_fleet.fetching import models_unit, moved_question, start_step, wait_script
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, put_file
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.render_store import store_files
from ollama_fleet.store import parse_name, wanted_blobs

BLOBS = "blobs"
SOUND = "sound blobs"
DIGESTS = "manifest digests"
STORED = "stored models"
MOVED = "moved tags"
# Our two files by name: the host's other ones are not ours to apply, or to fail at.
MAKE_ACCOUNT = (
    "systemd-sysusers /etc/sysusers.d/ollama.conf\n"
    "systemd-tmpfiles --create /etc/tmpfiles.d/ollama.conf"
)


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about a plan's models in its store."""
    store = plan.store.path
    paths = {model: parse_name(model).path for model in plan.models}
    manifests = {
        model: f"cat {shlex.quote(f'{store}/manifests/{path}')}" for model, path in paths.items()
    }
    locked = [paths[lock.name] for lock in plan.store.locked if lock.name in paths]
    digests = (
        f"cd {store}/manifests 2>/dev/null && sha256sum {shlex.join(locked)} 2>/dev/null; true"
    )
    return {
        BLOBS: f"find {store}/blobs -name 'sha256-*' -printf '%f %s %T@\\n' 2>/dev/null; true",
        SOUND: f"cat {store}/fetch/sound 2>/dev/null; true",
        STORED: f"cd {store}/manifests 2>/dev/null && find . -type f; true",
        **({DIGESTS: digests, MOVED: moved_question(models_unit(plan))} if locked else {}),
        **custom_questions(plan),
        **manifests,
    }


@dataclass(frozen=True)
class StoreState:
    """What separates a store from its plan: models to bring, manifests to take away, and custom models
    to make.

    It is true where the host has to fetch or remove; to make models is another step.
    """

    missing: tuple[str, ...]
    unwanted: tuple[str, ...]
    custom: CustomState = field(default_factory=CustomState)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unwanted)

    def __str__(self) -> str:
        return ", ".join(self.missing) or f"nothing, removing {len(self.unwanted)} models"


def read_store(plan: HostPlan, answers: Answers) -> StoreState:
    """Answers to `asked`.

    A blob counts when it has its full size and was hashed since it last changed: Ollama believes any
    file that lies under the name.
    """
    sound = set(answers[SOUND].lines)
    blobs = {
        row[0]: int(row[1])
        for line in answers[BLOBS].lines
        if line in sound and len(row := line.split()) == 3
    }
    rows = [line.split(maxsplit=1) for line in _lines(answers, DIGESTS)]
    digests = {row[1]: row[0] for row in rows if len(row) == 2}
    there = {model for model in plan.models if _is_there(plan, model, answers, blobs, digests)}
    custom = read_custom(plan, answers, blobs, frozenset(there))
    missing = [
        *(model for model in plan.pulled if model not in there),
        *(model.name for model in custom.lacking if model.kind == "url"),
    ]
    return StoreState(tuple(missing), tuple(_unwanted(plan, answers[STORED].lines)), custom)


def problems(plan: HostPlan, answers: Answers) -> list[str]:
    """What of the models cannot be had, as `asked` tells before anything is changed."""
    return missing_host_files(plan, answers, read_store(plan, answers).custom)


def moved_tags(plan: HostPlan, answers: Answers) -> list[str]:
    """Locked models whose tag meant something else when the host last fetched them, in words."""
    rows = [line.split() for line in _lines(answers, MOVED)]
    found = {row[0]: row[1] for row in rows if len(row) == 2}
    return [
        f"{lock.name}: its tag has moved at the registry (to sha256:{found[lock.name][:12]}…); this host "
        "has the locked one. `fleet lock --update` takes the new one"
        for lock in plan.store.locked
        if found.get(lock.name, lock.digest) != lock.digest
    ]


def _lines(answers: Answers, name: str) -> list[str]:
    return answers[name].lines if name in answers else []


def _is_there(
    plan: HostPlan,
    model: str,
    answers: Answers,
    blobs: dict[str, int],
    digests: dict[str, str],
) -> bool:
    wanted = wanted_blobs(answers[model].text)
    locked = plan.store.lock_of(model)
    if wanted is None or (locked and digests.get(parse_name(model).path) != locked.digest):
        return False
    return all(blobs.get(name) == size for name, size in wanted.items())


def _unwanted(plan: HostPlan, found: Iterable[str]) -> list[str]:
    stored = {line.removeprefix("./") for line in found}
    absent = {parse_name(model).path for model in plan.store.absent}
    wanted = {parse_name(model).path for model in plan.models}
    return sorted(stored & absent if plan.store.keep_unlisted else stored - wanted)


def start_models(plan: HostPlan, state: StoreState) -> str:
    """A step that starts the host on its models; the service user and all it needs come with it."""
    files = map(put_file, store_files(plan))
    start = start_step(models_unit(plan), str(state), plan.provision.environment)
    return "\n".join([*files, MAKE_ACCOUNT, start])


@operation()
def models_present(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure a host's store holds every model of a plan, whole and checked, and none that must not be
    there. Joins the download that an earlier step or an earlier run started.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        models_present(name="Fetch the models", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    state = read_store(plan, answers)
    if state:
        yield Script(change_script([start_models(plan, state)]))
        yield Script(wait_script(models_unit(plan)))
        return
    # The download may have been over before anybody waited for it.
    if host.state.current_stage == StateStage.Execute:
        for words in moved_tags(plan, answers):
            host.log_styled(words, fg="yellow")
    host.noop(f"{len(plan.models)} models are in the store")
