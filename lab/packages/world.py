"""Builds the package world once per recipe, and puts it where the mirror serves it.

A build is kept in the lab's cache, in a directory named after the recipes, this machine's kernel
and the keys; it counts once its directory has its final name.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from lab.network import MIRROR_ADDRESS
from lab.packages import rpm
from lab.packages.deb import write_deb
from lab.packages.recipe import HERE, Package, load_packages, load_repositories
from lab.packages.signing import KEYS, armored_key, fingerprint
from lab.repository import release_file, sign_release, write_index
from lab.state import CACHE, link_tree, locked, remove_tree, write_text

STAMP = ".made-of"
EL_RELEASES = ("8", "9", "10")
# What an EL host has installed from the start: records in its rpm database.
INSTALLED = ("rocky-release", "lab-base", "kernel-core", "kernel")


def ensure_world(cache: Path = CACHE) -> Path:
    """The directory of the finished world: `served/` and, for the archives, `pools/`."""
    for name in _key_names():
        fingerprint(name)
    world = cache / f"packages-{_digest()}"
    if world.exists():
        return world
    with locked(cache / "packages.lock"):
        if not world.exists():
            for other in cache.glob("packages-*"):
                if other.is_dir():
                    remove_tree(other)
            torso = cache / "packages-torso"
            _build(torso)
            torso.rename(world)
    return world


def install_world(world: Path, mirror: Path) -> None:
    """Everything but the archives' pools, linked into the tree that the mirror serves."""
    stamp = mirror / STAMP
    if stamp.exists() and stamp.read_text() == world.name:
        return
    for top in sorted((world / "served").iterdir()):
        shutil.rmtree(mirror / top.name, ignore_errors=True)
        link_tree(top, mirror / top.name)
    prints = "".join(f"{name}: {fingerprint(name)}\n" for name in _key_names())
    write_text(mirror / "fingerprints.yml", prints)
    write_text(stamp, world.name)


def _key_names() -> list[str]:
    return sorted({row["key"] for row in load_repositories().values() if "key" in row})


def _digest() -> str:
    parts = [
        path.read_bytes() for path in sorted(HERE.rglob("*")) if path.suffix in (".py", ".yml")
    ]
    parts.append(platform.release().encode())
    parts += [(KEYS / name / "fingerprint").read_bytes() for name in _key_names()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _build(torso: Path) -> None:
    remove_tree(torso)
    by_repository: dict[str, list[Package]] = defaultdict(list)
    for package in load_packages():
        by_repository[package.repository].append(package)
    rpms = {}
    for path, row in load_repositories().items():
        packages = by_repository[path]
        if row["kind"] == "rpm":
            rpms[torso / "served" / path] = (row, packages)
            continue
        target = torso / ("pools" if row["kind"] == "pool" else "served") / path
        target.mkdir(parents=True)
        for package in packages:
            write_deb(package, target)
        if row["kind"] == "flat":
            _finish_flat(target, row)
            _publish_access(torso, target, row)
    rpm.build_repositories(rpms)
    for target, (row, _) in rpms.items():
        _publish_access(torso, target, row)
        if "repo_file" in row:
            path = str(target.relative_to(torso / "served"))
            (torso / "served" / row["repo_file"]).write_text(rpm.repo_file(path, row))
    for release in EL_RELEASES:
        base = torso / "served/pub/rocky" / release / "BaseOS/x86_64/os"
        rpm.make_database(torso / "rpm-databases" / release, base, INSTALLED)


def _finish_flat(target: Path, row: dict[str, Any]) -> None:
    write_index(target, ".", target / "Packages")
    release_file(target, target, row["release"])
    sign_release(target, KEYS / row["key"])


def _publish_access(torso: Path, target: Path, row: dict[str, Any]) -> None:
    """Key, and the source line that goes with it, where the public original offers them."""
    if "key_file" in row:
        (target / row["key_file"]).write_bytes(armored_key(row["key"]))
    if "key_path" in row:
        (torso / "served" / row["key_path"]).write_bytes(armored_key(row["key"]))
    if "list_file" in row:
        place = target.relative_to(torso / "served").parent
        line = f"deb http://{MIRROR_ADDRESS}/{place}/$(ARCH) /\n"
        (torso / "served" / row["list_file"]).write_text(line)
