"""NVIDIA's container toolkit: its repository for one packager, with the packages of the pinned version."""

from collections.abc import Sequence

from ollama_fleet.bundle.apt import read_apt
from ollama_fleet.bundle.dnf import read_dnf
from ollama_fleet.bundle.item import Part, PartError, known
from ollama_fleet.bundle.keys import repository_key
from ollama_fleet.bundle.repository import Package, with_needs
from ollama_fleet.containers.packages import (
    DEB_ARCHITECTURES,
    FINGERPRINT,
    PACKAGES,
    RELEASE,
    number,
)
from ollama_fleet.planner.provision import ToolkitRequest
from ollama_fleet.sources import TREE

KEY_FILE = "gpgkey"


def toolkit_part(requests: Sequence[ToolkitRequest], packager: str, machine: str) -> Part:
    """What hosts with these requests need of the repository that all of them name. Raises PartError
    and web.FetchError.

    + packager: apt or dnf
    + machine: as `uname -m` says it
    """
    first = requests[0]
    key_url = f"{first.repository}/{KEY_FILE}"
    pinned = first.key_fingerprint or (None if first.key else FINGERPRINT)
    key = repository_key(key_url, first.key, pinned)
    top = TREE.container_toolkit.lstrip("/")
    if packager == "apt":
        arch = DEB_ARCHITECTURES[machine]
        place = f"stable/deb/{arch}"
        found = read_apt(f"{first.repository}/{place}", f"{top}/{place}", arch, key)
    else:
        place = f"stable/rpm/{machine}"
        found = read_dnf(f"{first.repository}/{place}", f"{top}/{place}", machine, key, signed=True)
    versions = sorted({request.version for request in requests})
    chosen = [package for version in versions for package in _of(version, found.packages)]
    name = f"container toolkit {', '.join(versions)} for {packager}, {machine}"
    return found.part(
        name, with_needs(chosen, found.packages), known(f"{top}/{KEY_FILE}", key, key_url)
    )


def _of(version: str, packages: Sequence[Package]) -> list[Package]:
    """All packages of one version. Raises PartError where one is missing."""
    found = [
        package
        for package in packages
        if package.name in PACKAGES and package.version.rpartition(":")[2] == version + RELEASE
    ]
    missing = sorted(set(PACKAGES) - {package.name for package in found})
    if missing:
        has = {package.driver_version for package in packages if package.name == PACKAGES[0]}
        raise PartError(
            f"the repository has no {', '.join(missing)} {version}; it has "
            f"{', '.join(sorted(has, key=number)) or 'none'}. Set `container_toolkit: {{version: …}}`"
        )
    return found
