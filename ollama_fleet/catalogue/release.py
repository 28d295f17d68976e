"""Ollama's releases: which may be installed, what their archives are called and how large they are.

The rules are data (`releases.yml`); what is here only reads them.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("releases.yml")
# Several times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ARCHITECTURES = ("amd64", "arm64")
MIB = 2**20

Version = tuple[int, int, int]


def read_version(text: str) -> Version:
    """`0.32.15` as numbers. Raises ValueError that says what the text is instead, and what to use."""
    if re.fullmatch(r"\d+\.\d+\.\d+", text):
        first, second, third = map(int, text.split("."))
        return first, second, third
    for row in _table()["names"]:
        found = re.fullmatch(row["like"], text, re.IGNORECASE)
        if found:
            if "$1" in row["what"]:
                raise ValueError(f"'{text}' {row['what'].replace('$1', found[1])}")
            raise ValueError(f"'{text}' {row['what']}; name one release, such as {suggested()}")
    raise ValueError(f"'{text}' is no release of the form x.y.z; use one such as {suggested()}")


def suggested() -> str:
    """The release to name where another one is refused."""
    return str(_table()["suggested"])


def version_problems(version: str, mig: bool) -> list[str]:
    """Why a host should not run this release, each with what to use; `mig`: it has MIG instances."""
    try:
        number = read_version(version)
    except ValueError as error:
        return [f"Ollama {error}"]
    table, problems = _table(), []
    oldest = str(table["oldest"])
    if number < read_version(oldest):
        holes = "; ".join(
            f"{row['what']} (mended in {row['in']})"
            for row in table["fixed"]
            if number < read_version(str(row["in"]))
        )
        problems.append(
            f"Ollama {version} has known security holes: {holes}. "
            f"Use {oldest} or newer, such as {suggested()}"
        )
    problems += [
        f"Ollama {version} {row['what']}; this host has MIG instances. "
        f"Use {suggested()} ({row['first']} to {row['last']} are like that)"
        for row in table["broken"]
        if row["where"] == "mig" and mig and _within(number, row)
    ]
    return problems


def _within(number: Version, row: Mapping[str, Any]) -> bool:
    return read_version(str(row["first"])) <= number <= read_version(str(row["last"]))


def default_archive() -> str:
    """Name of a release's archive; {arch} stands for the architecture."""
    return str(_table()["archive"])


def archive_problem(pattern: str) -> str | None:
    """Why this is not the name of an archive that holds a server, with what to use; None when it may be."""
    for row in _table()["no_server"]:
        if re.fullmatch(row["like"], pattern, re.IGNORECASE):
            return f"'{pattern}' is {row['what']}; name the archive itself, {default_archive()}"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", pattern.replace("{arch}", "")):
        return (
            f"'{pattern}' is no name of an asset; use letters, digits, '.', '_', '-', "
            f"and {{arch}} for the architecture, as in {default_archive()}"
        )
    return None


def asset(pattern: str, arch: str) -> str:
    """The archive's name for an architecture."""
    return pattern.replace("{arch}", arch)


def archive_bytes(arch: str) -> int:
    """About how large a release's archive is."""
    return int(_table()["archive_mib"][arch]) * MIB


def unpacked_ratio() -> int:
    """How many times its archive's size a release takes, at most."""
    return int(_table()["unpacked_ratio"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(TABLE.read_text(encoding="utf-8"), Loader=_LOADER)
    return found
