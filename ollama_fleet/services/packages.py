"""Which packages a machine still needs, asked by what they bring."""

from collections.abc import Mapping

from ollama_fleet.catalogue.distribution import words_of
from ollama_fleet.questions import Answers

# Shell that fails without something, to the package that brings it, by packager.
Needed = Mapping[str, Mapping[str, str]]


def missing_question(needed: Needed) -> str:
    """Prints the packager, then a package per line that has to be installed."""
    words = "|".join(words_of("dnf"))
    lines = [
        f"({test}) >/dev/null 2>&1 || case $packager in dnf) echo {names['dnf']} ;; "
        f"*) echo {names['apt']} ;; esac"
        for test, names in needed.items()
    ]
    return "\n".join(
        [
            f"packager=apt; ! grep -qE '^ID(_LIKE)?=.*({words})' /etc/os-release || packager=dnf",
            "echo $packager",
            *lines,
        ]
    )


def read_missing(answers: Answers, name: str) -> tuple[str, tuple[str, ...]]:
    """Packager, and the packages that are missing."""
    packager, *packages = [*answers[name].lines, "apt"][:1] + answers[name].lines[1:]
    return packager, tuple(packages)
