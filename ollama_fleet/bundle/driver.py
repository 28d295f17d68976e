"""NVIDIA's driver repository of one distribution, with what hosts are going to take from it."""

from collections.abc import Sequence

from ollama_fleet.bundle.apt import read_apt
from ollama_fleet.bundle.dnf import read_dnf
from ollama_fleet.bundle.item import Part, PartError, known
from ollama_fleet.bundle.keys import repository_key
from ollama_fleet.bundle.repository import Package, driver_packages
from ollama_fleet.catalogue.distribution import Distribution
from ollama_fleet.planner.provision import DriverRequest
from ollama_fleet.preflight import ARCHITECTURES
from ollama_fleet.sources import TREE


def driver_part(
    requests: Sequence[DriverRequest], distribution: Distribution, machine: str
) -> Part:
    """What hosts with these requests need of the repository that all of them name. Raises PartError
    and web.FetchError.

    + machine: as `uname -m` says it
    """
    first = requests[0]
    if not (first.key or first.key_fingerprint or distribution.key_fingerprint):
        raise PartError(
            f"the fingerprint of the key for {distribution.name} is not known for certain; set "
            "`driver: {key_fingerprint: …}` or `{key: …}`"
        )
    url = distribution.repository_url(first.repository, machine)
    folder = distribution.repository_url(TREE.driver, machine).lstrip("/")
    pinned = first.key_fingerprint or (None if first.key else distribution.key_fingerprint)
    key_url = f"{url}/{distribution.key_file}"
    key = repository_key(key_url, first.key, pinned)
    if distribution.packager == "apt":
        found = read_apt(url, folder, ARCHITECTURES[machine], key)
    else:
        found = read_dnf(url, folder, machine, key, signed=False)
    packages: dict[str, Package] = {}
    versions: set[str] = set()
    for request in requests:
        chosen, of_these = driver_packages(request, distribution, found.packages)
        packages |= {package.file: package for package in chosen}
        versions.update(of_these)
    name = f"driver {', '.join(sorted(versions))} for {distribution.name}, {machine}"
    return found.part(
        name, packages.values(), known(f"{folder}/{distribution.key_file}", key, key_url)
    )
