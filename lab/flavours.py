"""Makes a host's tree look like a distribution: its name, its sources, its package manager.

Rows of flavours.yml. Knows nothing of packages; the tree stays Debian 12's whatever it is called.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from lab.network import MIRROR_ADDRESS
from lab.packages.world import ensure_world
from lab.state import PACKAGE

TABLE = PACKAGE / "flavours.yml"
OS_RELEASE = "usr/lib/os-release"
APT_SOURCES = "etc/apt/sources.list.d/lab.sources"
APT_SOURCE = """Types: deb
URIs: http://{mirror}/{archive}
Suites: {suite}
Components: {components}
Signed-By: /usr/share/keyrings/lab-archive-keyring.gpg
"""
DNF_REPOSITORY = """[{id}]
name={name} {release} - {id}
baseurl=http://{mirror}/pub/rocky/{release}/{place}/$basearch/os
enabled={enabled}
gpgcheck=0

"""


def distributions() -> list[str]:
    return list(_table())


def layer(distribution: str) -> str | None:
    """The layer of the image that such a host stands on, above the base."""
    found: str | None = _table()[distribution].get("layer")
    return found


def write(root: Path, distribution: str, updates: bool = False) -> None:
    """Before the host's first boot, through its mounted root."""
    row = _table()[distribution]
    for path, text in files(distribution, updates).items():
        _write(root, path, text)
    if row["family"] == "dnf":
        for path in (APT_SOURCES, "etc/debian_version"):
            (root / path).unlink(missing_ok=True)
        database = ensure_world() / "rpm-databases" / row["release"]
        shutil.copytree(database, root / "var/lib/rpm", dirs_exist_ok=True)


def files(distribution: str, updates: bool = False) -> dict[str, str]:
    """Path → text of what such a host has other than the tree; `updates`: a newer kernel's source."""
    row = _table()[distribution]
    return _apt_files(row, updates) if row["family"] == "apt" else _dnf_files(row, updates)


def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(TABLE.read_text())
    return found


def _apt_files(row: dict[str, Any], updates: bool) -> dict[str, str]:
    suite = row["suite"] + (f" {row['suite']}-updates" if updates else "")
    source = APT_SOURCE.format_map({**row, "mirror": MIRROR_ADDRESS, "suite": suite})
    found = {APT_SOURCES: source, **row.get("files", {})}
    if "os_release" in row:
        found[OS_RELEASE] = _os_release(row["os_release"])
    return found


def _dnf_files(row: dict[str, Any], updates: bool) -> dict[str, str]:
    whole = f"{row['name']} release {row['minor']}\n"
    names = ("redhat-release", "system-release", f"{row['id']}-release")
    return {
        **{f"etc/{name}": whole for name in names},
        OS_RELEASE: _os_release(_el_fields(row)),
        "etc/dnf/vars/releasever": f"{row['release']}\n",
        "etc/yum.repos.d/lab.repo": _dnf_repositories(row, updates),
    }


def _el_fields(row: dict[str, Any]) -> dict[str, str]:
    minor = row["minor"]
    return {
        "NAME": row["name"],
        "VERSION": minor,
        "ID": row["id"],
        "ID_LIKE": row["id_like"],
        "VERSION_ID": minor,
        "PLATFORM_ID": f"platform:el{row['release']}",
        "PRETTY_NAME": f"{row['name']} {minor}",
    }


def _dnf_repositories(row: dict[str, Any], updates: bool) -> str:
    """As after an installation: the builders' packages are known but not enabled.

    `updates` is the lab's own name for what a later kernel comes from.
    """
    places = {
        "baseos": ("BaseOS", 1),
        "extras": ("extras", 1),
        "updates": ("updates", int(updates)),
    }
    places[row["builders"]["id"]] = (row["builders"]["place"], 0)
    return "".join(
        DNF_REPOSITORY.format(
            id=name,
            name=row["name"],
            release=row["release"],
            mirror=MIRROR_ADDRESS,
            place=place,
            enabled=enabled,
        )
        for name, (place, enabled) in places.items()
    )


def _os_release(fields: dict[str, str]) -> str:
    return "".join(f'{key}="{value}"\n' for key, value in fields.items())


def _write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text)
    target.chmod(0o644)
