"""Rules of what slices load by themselves, and of the slice that `ollama` on a host means.

Imports what is known and the other rules.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ollama_fleet.spec.known import Place, all_wishes, full_model_name, spell
from ollama_fleet.spec.rules import rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet
    from ollama_fleet.spec.servers import ServerSpec

MOST_LOADED = "OLLAMA_MAX_LOADED_MODELS"
NO_TIME = re.compile(r"-?0+(\.0+)?(ms|s|m|h)?")


def keeps_nothing(keep_alive: str | int) -> bool:
    """Whether a model goes as soon as it has answered."""
    return NO_TIME.fullmatch(str(keep_alive)) is not None


def preload_rule(spec: "ServerSpec", models: Sequence[str]) -> None:
    """Models that are to be loaded are models of the slice, and may be loaded at the same time."""
    if isinstance(spec.preload, bool):
        return
    served = {full_model_name(model) for model in models}
    seen: set[str] = set()
    for position, model in enumerate(spec.preload):
        full = full_model_name(model)
        if full not in served:
            what = f"'{model}' is no model of it; it serves {', '.join(models) or 'none'}"
            raise rule_broken(("preload", position), what)
        if full in seen:
            raise rule_broken(("preload", position), f"{model} is named twice; name it once")
        seen.add(full)
    if seen and keeps_nothing(spec.keep_alive):
        what = f"keep_alive: {spec.keep_alive} keeps no model; drop one of the two"
        raise rule_broken(("preload",), what)
    most = str(spec.env.get(MOST_LOADED, ""))
    if most.isdigit() and 0 < int(most) < len(seen):
        what = f"names {len(seen)} models, but {MOST_LOADED} allows {most}; name fewer"
        raise rule_broken(("preload",), what)


def one_default_rule(fleet: "Fleet") -> None:
    """No host may end with two slices that are its default."""
    first: dict[str, str] = {}
    for name, host in fleet.hosts.items():
        for index, item in enumerate(host.slices):
            if item.default:
                _claim(first, [name], ("hosts", name, "slices", index))
    for at, wish, hosts in all_wishes(fleet):
        if wish.default:
            _claim(first, hosts, at)


def _claim(first: dict[str, str], hosts: Sequence[str], at: Place) -> None:
    for host in hosts:
        if host in first:
            what = f"{first[host]} is the default of {host} already; a host has one"
            raise rule_broken((*at, "default"), what)
    first.update(dict.fromkeys(hosts, spell(at)))
