"""Which slices of one host have to change together: those of which one takes what another one still has.

Pure: what units say of their place in, groups of units out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.questions import Answers
from ollama_fleet.templating import UNIT_DIR

PLACES = "rollout.places"
# Of each installed slice its name, its GPUs and its port.
QUESTION = {
    PLACES: f"grep -sHE '^(Description=|Environment=\"OLLAMA_HOST=)' {UNIT_DIR}/ollama-*.service; true"
}


@dataclass(frozen=True)
class Place:
    """What a slice takes for itself: a port, and GPUs or an instance."""

    port: int
    on: frozenset[str] = frozenset()

    def is_in_the_way_of(self, other: "Place") -> bool:
        """Whether both cannot be there at once."""
        return self.port == other.port or bool(self.on & other.on)


def wanted_places(bound: Iterable[BoundSlice]) -> dict[str, Place]:
    """Unit to the place that it is to have."""
    return {item.plan.unit: Place(item.plan.port, _parts(item.place)) for item in bound}


def read_places(answers: Answers) -> dict[str, Place]:
    """The answer to QUESTION: unit to the place that it has."""
    ports: dict[str, int] = {}
    on: dict[str, frozenset[str]] = {}
    for line in answers[PLACES].lines:
        path, _, text = line.partition(":")
        unit = path.rpartition("/")[2]
        if found := re.search(r"OLLAMA_HOST=.*:(\d+)", text):
            ports[unit] = int(found[1])
        elif found := re.match(r"Description=Ollama slice \S+ on (.*)", text):
            on[unit] = _parts(found[1])
    return {unit: Place(ports[unit], on[unit]) for unit in on.keys() & ports.keys()}


def _parts(place: str) -> frozenset[str]:
    """GPUs by their UUIDs; an instance is one thing."""
    return frozenset([place] if ", MIG " in place else place.split(", "))


def groups_of(
    changed: Sequence[str],
    removed: Sequence[str],
    wanted: Mapping[str, Place],
    found: Mapping[str, Place],
) -> list[tuple[str, ...]]:
    """Units that change one group after the other, each group at once; who is `removed` is in the group of
    those that get its place. In the order of `changed`."""
    left = [*changed, *removed]
    groups = []
    while left:
        group = [left.pop(0)]
        for unit in group:  # grows while it is read
            joined = [other for other in left if _meet(unit, other, wanted, found)]
            group += joined
            left = [other for other in left if other not in joined]
        groups.append(tuple(sorted(group, key=[*changed, *removed].index)))
    return groups


def _meet(one: str, other: str, wanted: Mapping[str, Place], found: Mapping[str, Place]) -> bool:
    return _takes(one, other, wanted, found) or _takes(other, one, wanted, found)


def _takes(one: str, other: str, wanted: Mapping[str, Place], found: Mapping[str, Place]) -> bool:
    """Whether the new place of `one` is where `other` still is."""
    new, old = wanted.get(one), found.get(other)
    return bool(new and old and new.is_in_the_way_of(old))
