"""Slices load their models by themselves: the files for it, what is in memory, and who has to begin anew.

Pure; imports the planner's values, the store's names and the templates.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ollama_fleet.fetching import models_unit
from ollama_fleet.planner.plan import LOADER_UNIT, PREFIX, USER, HostPlan, SlicePlan
from ollama_fleet.planner.preload import most_loaded
from ollama_fleet.store import parse_name
from ollama_fleet.templating import UNIT_DIR, HostFile, render

SCRIPT = f"{PREFIX}/libexec/ollama-warm"
IDENTIFIER = "ollama-warm"
DROP_IN = "20-warm.conf"
# Exit code of the script when a model was not in the store: EX_TEMPFAIL of sysexits.h.
ABSENT = 75
DELAYS_S = (2, 6, 18)
# Ollama's "for ever" is some 290 years from now.
FOR_EVER = "2100"
RUNNING = ("active", "activating", "reloading", "deactivating")
STATE_PROPERTIES = ("ExecMainStatus", "ExecMainStartTimestampMonotonic")


@dataclass(frozen=True)
class InMemory:
    """A model that a server holds; `context` in tokens, None where an old server does not say."""

    context: int | None
    expires_at: str

    @property
    def stays(self) -> bool:
        """Whether it stays until somebody unloads it."""
        return not self.expires_at or self.expires_at > FOR_EVER


def files(plan: HostPlan) -> Iterator[HostFile]:
    """The script, and per slice that loads anything its unit and the drop-in that starts it."""
    warmed = [item for item in plan.slices if item.preload]
    if warmed:
        # As long as one of these runs, a model that is missing may come.
        fetchers = (models_unit(plan).unit, LOADER_UNIT)
        store = plan.store.path
        text = render("ollama-warm.sh.j2", models_dir=store, fetchers=fetchers, absent=ABSENT)
        yield HostFile(SCRIPT, text, mode="0755")
    for item in warmed:
        unit = render(
            "ollama-warm.service.j2",
            slice=item,
            user=USER,
            script=SCRIPT,
            identifier=IDENTIFIER,
            absent=ABSENT,
            environment=environment(item),
        )
        yield HostFile(f"{UNIT_DIR}/{item.warm_unit}", unit)
        drop_in = render("slice-warm.conf.j2", warm_unit=item.warm_unit)
        yield HostFile(f"{UNIT_DIR}/{item.unit}.d/{DROP_IN}", drop_in)


def environment(item: SlicePlan) -> dict[str, str]:
    """What the script is told of one slice; names as Ollama prints them."""
    entries = [(parse_name(one.model), one.context) for one in item.preload]
    return {
        "API": item.url,
        "KEEP_ALIVE": _keep_alive(item),
        "MOST": str(most_loaded(item)),
        "SERVES": " ".join(parse_name(model).shortest for model in item.models),
        "MODELS": " ".join(f"{name.shortest}={name.path}={context}" for name, context in entries),
        "DELAYS": " ".join(map(str, DELAYS_S)),
    }


def _keep_alive(item: SlicePlan) -> str:
    """As JSON: seconds are a number, all else a duration."""
    text = item.environment["OLLAMA_KEEP_ALIVE"]
    return text if text.lstrip("-").isdigit() else json.dumps(text)


def keeps_for_ever(item: SlicePlan) -> bool:
    """Whether its models stay until somebody unloads them."""
    return item.environment["OLLAMA_KEEP_ALIVE"].startswith("-")


def read_memory(ps: Mapping[str, Any]) -> dict[str, InMemory]:
    """Answer of `/api/ps`: name to what is known of the model."""
    return {
        parse_name(str(model.get("name"))).shortest: InMemory(
            model.get("context_length"), str(model.get("expires_at") or "")
        )
        for model in ps.get("models") or []
    }


def read_states(text: str) -> dict[str, dict[str, str]]:
    """Blocks of `Key=value` lines, as systemctl prints them: unit to its properties."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in text.split("\n\n")
    ]
    return {block["Id"]: block for block in blocks if "Id" in block}


def foreign(item: SlicePlan, memory: Mapping[str, InMemory]) -> list[str]:
    """Models in memory that are none of the slice's."""
    own = {parse_name(model).shortest for model in item.models}
    return sorted(set(memory) - own)


def is_cold(
    item: SlicePlan, memory: Mapping[str, InMemory] | None, state: Mapping[str, str]
) -> bool:
    """Whether a slice has to begin anew to load its models.

    `memory` is None when its server did not answer; `state` holds properties of its warm unit. A
    slice that starts does it by itself, and one that serves something else is let alone.
    """
    active = state.get("ActiveState", "")
    if not item.preload or state.get("LoadState") != "loaded" or active in RUNNING:
        return False
    if active == "failed" or state.get("ExecMainStatus") == str(ABSENT):
        return True
    if not keeps_for_ever(item):
        return state.get("ExecMainStartTimestampMonotonic", "0") in ("", "0")
    if memory is None or foreign(item, memory):
        return False
    found = [memory.get(parse_name(one.model).shortest) for one in item.preload]
    if any(one and not one.stays for one in found):
        return True
    return None in found and len(memory) < most_loaded(item)
