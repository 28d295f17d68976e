"""Settings of inventory and group_data become the `Release` that a host shall run, or a refusal.

Imports the catalogue's rules and the planner's type. Names are those of group_data/all.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ollama_fleet.catalogue.release import (
    ARCHITECTURES,
    archive_problem,
    default_archive,
    version_problems,
)
from ollama_fleet.planner.plan import Release
from ollama_fleet.release.sums import DIGEST

DELIVERIES = ("host", "controller")
KEEP_VERSIONS = 2


class ReleaseRefusedError(ValueError):
    """No host should run what the settings say; tells why and what to use."""


def wanted_release(setting: Callable[[str], Any], mig: bool = False) -> Release:
    """The release by its settings (`ollama_version`, …). `mig`: the host has MIG instances.

    Raises ReleaseRefusedError.
    """
    version = str(setting("ollama_version"))
    problems = version_problems(version, mig)
    if problems:
        raise ReleaseRefusedError("; ".join(problems))
    sums = pinned_sums(setting)
    if not sums:
        raise ReleaseRefusedError(
            f"no checksum is pinned for Ollama {version}; run `fleet pin ollama {version}`, or set "
            "`ollama: {sha256: …}` or `sha256_file:` in the inventory"
        )
    _check_sums(sums, version)
    return Release(
        version=version,
        sha256=dict(sums),
        release_url=str(setting("ollama_release_url")),
        registry=setting("ollama_registry"),
        archive=_archive(setting("ollama_archive")),
        delivery=_delivery(setting("ollama_delivery")),
        keep_versions=_keep(setting("ollama_keep_versions")),
    )


def pinned_sums(setting: Callable[[str], Any]) -> Mapping[str, str] | None:
    """The inventory's own checksums, else those pinned in group_data for this version."""
    pins = setting("ollama_pins") or {}
    own: Mapping[str, str] | None = setting("ollama_sha256")
    return own or (pins.get(str(setting("ollama_version"))) if isinstance(pins, Mapping) else None)


def _check_sums(sums: Any, version: str) -> None:
    """They go into shell scripts: nothing but hex may."""
    for arch, digest in sums.items() if isinstance(sums, Mapping) else [("", sums)]:
        if arch not in ARCHITECTURES or not DIGEST.fullmatch(str(digest)):
            raise ReleaseRefusedError(
                f"the pin of Ollama {version} is no map of amd64 and arm64 to 64 lowercase hex digits "
                f"({arch}: {digest}); run `fleet pin ollama {version} --replace`"
            )


def _archive(value: Any) -> str:
    name = str(value or default_archive())
    wrong = archive_problem(name)
    if wrong:
        raise ReleaseRefusedError(f"ollama archive {wrong}")
    return name


def _delivery(value: Any) -> str:
    name = str(value or DELIVERIES[0])
    if name not in DELIVERIES:
        raise ReleaseRefusedError(f"ollama delivery '{name}' is neither {' nor '.join(DELIVERIES)}")
    return name


def _keep(value: Any) -> int:
    if value is None:
        return KEEP_VERSIONS
    if not str(value).isdigit():
        raise ReleaseRefusedError(f"ollama keep_versions '{value}' is no number; use 0 or more")
    return int(value)
