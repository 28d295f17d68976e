"""A package repository, read: its packages, and which of them hosts are going to want.

The rules are those of the driver step's own scripts (templates/driver): the newest version of the
branch that a whole set of packages has. Of that version everything is taken, for which of it a host
needs is known only there.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ollama_fleet.bundle.item import Item, Part, PartError
from ollama_fleet.catalogue.distribution import Distribution, Sets, fill
from ollama_fleet.driver.flavour import version_key
from ollama_fleet.planner.provision import DriverRequest
from ollama_fleet.web import open_at

# Modules that somebody built for one kernel each: hosts build their own.
FOR_ONE_KERNEL = re.compile(r"(kmod-nvidia(-open)?|linux-modules-nvidia)-\d.*")


@dataclass(frozen=True)
class Package:
    """A package of a repository: `file` is its path there, `version` its full one, `needs` are names that
    it depends on."""

    name: str
    version: str
    file: str
    size: int
    sha256: str
    needs: frozenset[str]

    @property
    def driver_version(self) -> str:
        """`3:580.95.05-1.el9` → `580.95.05`."""
        return re.sub(r"[-~+].*", "", self.version.rpartition(":")[2])

    @property
    def order(self) -> tuple[tuple[int, int | str], ...]:
        """Sorts versions as people read them."""
        epoch, _, rest = self.version.rpartition(":")
        parts = re.findall(r"\d+|[A-Za-z]+|~", rest)
        return ((1, int(epoch or 0)), *map(_part, parts))


def _part(text: str) -> tuple[int, int | str]:
    if text.isdigit():
        return 2, int(text)
    return (0, text) if text == "~" else (1, text)


@dataclass(frozen=True)
class Repository:
    """What an index at `url` lists, for a bundle's `folder`. `heads` are the index' own files in the
    order in which they come into their places: the one that everything hangs on last."""

    url: str
    folder: str
    heads: tuple[Item, ...]
    packages: tuple[Package, ...]

    def part(self, name: str, packages: Iterable[Package], key: Item) -> Part:
        """Some of its packages with its index, as a part of a bundle; `key` is what it is trusted by."""
        return Part(name, tuple(map(self._item, packages)), (key, *self.heads))

    def _item(self, package: Package) -> Item:
        url = f"{self.url}/{package.file}"
        place = f"{self.folder}/{package.file}"
        return Item(place, package.sha256, package.size, url, partial(open_at, url))


def driver_packages(
    request: DriverRequest, distribution: Distribution, packages: Sequence[Package]
) -> tuple[list[Package], list[str]]:
    """Packages that hosts of this distribution may ask for, and the versions of the driver. Raises
    PartError where there is none."""
    flavours = distribution.sets if request.flavour == "auto" else (request.flavour,)
    offered = _versions_by_name(packages)
    found = [
        version
        for flavour in flavours
        if (version := _pick(request, distribution, distribution.sets[flavour], offered))
    ]
    if not found:
        raise PartError(_no_driver(request, distribution, offered))
    versions = sorted(set(found), key=version_key)
    chosen = [
        package
        for package in packages
        if package.driver_version in versions and not FOR_ONE_KERNEL.fullmatch(package.name)
    ]
    chosen += _newest(packages, _pins(distribution, versions))
    chosen += _newest(packages, distribution.fabric.unversioned)
    return with_needs(chosen, packages), versions


def with_needs(chosen: Iterable[Package], packages: Sequence[Package]) -> list[Package]:
    """`chosen`, and the newest of everything in the repository that they need."""
    found = {package.file: package for package in chosen}
    while True:
        names = {package.name for package in found.values()}
        wanted = {need for package in found.values() for need in package.needs} - names
        more = _newest(packages, wanted)
        if not more:
            return list(found.values())
        found |= {package.file: package for package in more}


def _pick(
    request: DriverRequest, distribution: Distribution, sets: Sets, offered: Mapping[str, set[str]]
) -> str | None:
    """The version that a host would install with these sets; None where it would find none."""
    asked = request.branch or (version_key(request.version)[0] if request.version else None)
    for branch in [asked] if asked else distribution.branches:
        rows = [[fill(name, branch=branch) for name in row] for row in sets]
        if not request.version and not any(_of_branch(offered, row[0], branch) for row in rows):
            continue
        whole = [
            version
            for row in rows
            for version in set.intersection(*(offered.get(name, set()) for name in row))
            if version == request.version
            or (not request.version and version.startswith(f"{branch}."))
        ]
        return max(whole, key=version_key, default=None)
    return None


def _of_branch(offered: Mapping[str, set[str]], name: str, branch: int) -> bool:
    return any(version.startswith(f"{branch}.") for version in offered.get(name, ()))


def _versions_by_name(packages: Iterable[Package]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package in packages:
        found.setdefault(package.name, set()).add(package.driver_version)
    return found


def _pins(distribution: Distribution, versions: Iterable[str]) -> list[str]:
    name = distribution.pin_package
    if name is None:
        return []
    return [f"{name}-{end}" for version in versions for end in (version, version.partition(".")[0])]


def _newest(packages: Sequence[Package], names: Collection[str]) -> list[Package]:
    """The newest version of each that is there."""
    found: dict[str, Package] = {}
    for package in packages:
        if package.name in names:
            before = found.get(package.name)
            if before is None or package.order > before.order:
                found[package.name] = package
    return list(found.values())


def _no_driver(
    request: DriverRequest, distribution: Distribution, offered: Mapping[str, set[str]]
) -> str:
    wanted = request.version or (f"of branch {request.branch}" if request.branch else "")
    names = {
        fill(row[0], branch=branch)
        for sets in distribution.sets.values()
        for row in sets
        for branch in distribution.branches
    }
    has = sorted(
        {version for name in offered if name in names for version in offered[name]},
        key=version_key,
    )
    return (
        f"the repository has no driver {wanted}".rstrip()
        + f" for {distribution.name}; it has {', '.join(has) or 'none at all'}. Set "
        "`driver: {version: …}` or `{branch: …}` to one of these"
    )
