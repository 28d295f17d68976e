"""A file of ours as found, beside what it is to be and what the last run left: whose the difference is."""

from collections.abc import Sequence
from dataclasses import dataclass

from ollama_fleet.convergence import digest
from ollama_fleet.templating import HostFile

Stamp = tuple[str, str]


@dataclass(frozen=True)
class Compared:
    """A file of ours: (mode, sha256) as it is and as it is to be, None where it is not.

    An empty mode is one that nobody asked for. `left` is the sha256 that the last run left: empty where
    it left no such file, None where nobody knows.
    """

    path: str
    found: Stamp | None
    wanted: Stamp | None
    left: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether it is as it is to be."""
        if self.found is None or self.wanted is None:
            return self.found == self.wanted
        mode = self.found[0] or self.wanted[0]
        return (mode, self.found[1]) == self.wanted

    @property
    def by_inventory(self) -> bool:
        """Whether it is what the last run left, and the inventory means something else by now."""
        if self.left is None or self.is_right:
            return False
        found = self.found[1] if self.found else ""
        wanted = self.wanted[1] if self.wanted else ""
        return found == self.left != wanted

    @property
    def words(self) -> str:
        """What is wrong with it."""
        if self.found is None:
            return f"{self.path} is {'not there yet' if self.by_inventory else 'missing'}"
        if self.wanted is None:
            return f"{self.path} is {'not wanted any more' if self.by_inventory else 'left over'}"
        if self.found[1] == self.wanted[1]:
            return f"{self.path} has {_rights(self.found[0])}, not {_rights(self.wanted[0])}"
        if self.left is None:
            return f"{self.path} was edited, or the inventory has changed since"
        return f"{self.path} {'is of an older inventory' if self.by_inventory else 'was edited'}"


def _rights(mode: str) -> str:
    bits, _, owner = mode.partition(":")
    return f"mode {bits}, owner {owner or 'root'}"


def stamp(file: HostFile) -> Stamp:
    """A planned file as hosts tell of it."""
    return file.mode.lstrip("0"), digest(file)


def edited(files: Sequence[Compared]) -> list[str]:
    """What is wrong with those that are neither right nor as an earlier inventory had them."""
    return [file.words for file in files if not (file.is_right or file.by_inventory)]
