"""Distributions that the driver step knows: one table of what differs between them.

Data only; what is done with it is decided in `driver`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Any

import yaml

TABLE = Path(__file__).with_name("distributions.yml")
# Five times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Sets = tuple[tuple[str, ...], ...]


class UnsupportedDistributionError(LookupError):
    """No row for this distribution; the text names it and those that have one."""


@dataclass(frozen=True)
class Fabric:
    """Packages for hosts with NVSwitches; `unversioned` ones are of the fifth NVLink."""

    sets: Sets
    optional: tuple[str, ...]
    unversioned: tuple[str, ...]


@dataclass(frozen=True)
class DkmsFrom:
    """The package that enables EPEL (None: the host's owner has to), and the builder repository."""

    release: str | None
    builder: str


@dataclass(frozen=True)
class Distribution:
    """A row of the table. Names may hold $branch, $kernel, $kernel_meta; see `fill`.

    `key_fingerprint` is None where it is not known for certain. `branches` are those to install
    unasked, the first choice first. `headers_of_one` are names of one kernel's headers, to try in turn;
    `kernel_kinds` names kernels by what follows the + of their release. `pin_streams` maps a flavour
    to its module stream; `dkms_from` is None where the distribution itself has dkms;
    `tools` are built with where they are offered.
    """

    id: str
    name: str
    packager: str
    repository: str
    architectures: Mapping[str, str]
    key_file: str
    key_fingerprint: str | None
    branches: tuple[int, ...]
    sets: Mapping[str, Sets]
    optional: tuple[str, ...]
    fabric: Fabric
    signed: Mapping[str, tuple[str, ...]]
    headers_of_one: tuple[str, ...]
    headers_of_next: Mapping[str, str]
    kernel_kinds: Mapping[str, str]
    initramfs: str
    mok: str
    pin_package: str | None
    pin_streams: Mapping[str, str]
    dkms_from: DkmsFrom | None
    tools: tuple[str, ...]

    def repository_url(self, base: str, machine: str) -> str:
        """Address of the repository for `machine` (as `uname -m` says it)."""
        return f"{base.rstrip('/')}/{self.repository}/{self.architectures[machine]}"


def find_distribution(os_id: str, version: str, machine: str) -> Distribution:
    """The row for ID, VERSION_ID of /etc/os-release and `uname -m`. Raises
    UnsupportedDistributionError."""
    table = _table()
    major = version.partition(".")[0]
    family = table["families"].get(os_id)
    key = f"{family}-{major}" if family else f"{os_id}-{version}"
    row = table["distributions"].get(key)
    if row is None:
        known = ", ".join(item["name"] for item in table["distributions"].values())
        raise UnsupportedDistributionError(
            f"{os_id or 'a distribution without a name'} {version}".strip()
            + f" is none that a driver can be installed on; there are {known} "
            "(and Rocky, AlmaLinux, CentOS Stream, Oracle Linux as RHEL). "
            "Install the driver yourself and set `driver: {manage: false}`"
        )
    if machine not in row["architectures"]:
        known = ", ".join(row["architectures"])
        raise UnsupportedDistributionError(
            f"no driver for {machine} on {row['name']}; only {known}"
        )
    return _distribution(key, row, os_id, major, machine)


def distribution_named(name: str, machine: str) -> Distribution:
    """The row that a person calls `debian12`, `debian-12` or `rocky9`, for `uname -m`. Raises
    UnsupportedDistributionError."""
    for key, row in _table()["distributions"].items():
        if name in (key, row["repository"]):
            os_id, _, version = key.rpartition("-")
            return find_distribution(os_id, version, machine)
    found = re.fullmatch(r"([a-z]+)-?(\d+(?:\.\d+)?)", name)
    if found and found[1] in _table()["families"]:
        return find_distribution(found[1], found[2], machine)
    rows = _table()["distributions"].values()
    known = ", ".join(f"{row['repository']} ({row['name']})" for row in rows)
    raise UnsupportedDistributionError(f"no distribution is called '{name}'; there are {known}")


def packager_of(os_id: str, id_like: str = "") -> str | None:
    """apt or dnf, for ID and ID_LIKE of /etc/os-release; None for what is neither."""
    families, packagers = _table()["families"], _table()["packagers"]
    ids = [families.get(name, name) for name in (os_id, *id_like.split())]
    return next((packagers[name] for name in ids if name in packagers), None)


def words_of(packager: str) -> list[str]:
    """Words that ID or ID_LIKE has on hosts of this packager: for questions that a shell answers."""
    return [word for word, name in _table()["packagers"].items() if name == packager]


def source_of(package: str, version: str) -> str | None:
    """Whose package of a driver this is, in words; None for what may be NVIDIA's own."""
    for whose, row in _table()["foreign"].items():
        for key, text in (("name", package), ("version", version)):
            if key in row and re.fullmatch(row[key], text):
                return str(whose)
    return None


def exporter_rows() -> dict[str, dict[str, dict[str, Any]]]:
    """Exporter to packager to its row."""
    found: dict[str, dict[str, dict[str, Any]]] = _table()["exporters"]
    return found


def supported() -> list[str]:
    """Ids of every row."""
    return list(_table()["distributions"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(TABLE.read_text(encoding="utf-8"), Loader=_LOADER)
    return found


def _distribution(
    key: str, row: Mapping[str, Any], os_id: str, major: str, machine: str
) -> Distribution:
    fabric = row["fabric"]
    return Distribution(
        id=key,
        name=row["name"],
        packager=row["packager"],
        repository=row["repository"],
        architectures=row["architectures"],
        key_file=row["key"]["file"],
        key_fingerprint=row["key"]["fingerprint"],
        branches=tuple(row["branches"]),
        sets={flavour: _sets(sets) for flavour, sets in row["sets"].items()},
        optional=tuple(row["optional"]),
        fabric=Fabric(
            _sets(fabric["sets"]), tuple(fabric["optional"]), tuple(fabric["unversioned"])
        ),
        signed={flavour: tuple(names) for flavour, names in row.get("signed", {}).items()},
        headers_of_one=tuple(row["headers"]["one"]),
        headers_of_next=row["headers"]["next"],
        kernel_kinds=row["headers"].get("kinds", {}),
        initramfs=row["initramfs"],
        mok=row["mok"],
        pin_package=row["pin"].get("package"),
        pin_streams=row["pin"].get("stream", {}),
        dkms_from=_dkms_from(row.get("dkms_from"), os_id, major, machine),
        tools=tuple(row.get("tools", {}).get(machine, ())),
    )


def _sets(rows: Sequence[Sequence[str]]) -> Sets:
    return tuple(tuple(names) for names in rows)


def _dkms_from(
    rows: Mapping[str, Any] | None, os_id: str, major: str, machine: str
) -> DkmsFrom | None:
    if not rows:
        return None
    words = {"major": major, "machine": machine}
    release, builder = rows[os_id]["release"], rows[os_id]["builder"]
    return DkmsFrom(release and fill(release, **words), fill(builder, **words))


def fill(name: str, **words: object) -> str:
    """`name` with its $words; those that are not given stay."""
    return Template(name).safe_substitute(words)
