"""The distributions' signed apt archives: real packages and those of the package world."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from lab.keys import gpg_home
from lab.state import link_or_copy

ORIGINS = {"debian": "Debian", "ubuntu": "Ubuntu"}
REAL = "pool/real"


def ensure_archive(target: Path, debs: Path, pools: Path, archive_key: Path) -> None:
    """One archive such as /debian: `debs` in `main` of each suite, beside pools/SUITE/COMPONENT.

    Idempotent: the stamp, written last, says which packages and key the tree was made of.
    """
    stamp, wanted = target / ".made-of", _made_of(debs, pools, archive_key)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    real = _add_pool(target, debs, REAL)
    suites: dict[str, dict[str, bytes]] = defaultdict(dict)
    for pool in sorted(pools.glob("*/*")):
        suite, component = pool.parts[-2:]
        made = _add_pool(target, pool, f"pool/{suite}/{component}")
        whole = component == "main" and not suite.endswith("-updates")
        suites[suite][component] = real + made if whole else made
    for suite, components in suites.items():
        _write_suite(target, suite, components, ORIGINS[target.name])
        sign_release(target / "dists" / suite, archive_key)
    stamp.write_text(wanted)


def _made_of(debs: Path, pools: Path, archive_key: Path) -> str:
    names = [path.name for path in sorted(debs.glob("*.deb"))]
    digest = hashlib.sha256("\n".join([*names, str(pools)]).encode())
    digest.update((archive_key / "public.gpg").read_bytes() + Path(__file__).read_bytes())
    return digest.hexdigest()


def _add_pool(target: Path, debs: Path, place: str) -> bytes:
    """The index of these packages."""
    (target / place).mkdir(parents=True)
    for deb in sorted(debs.glob("*.deb")):
        link_or_copy(deb, target / place / deb.name)
    return _ftparchive(target, "packages", place)


def _write_suite(target: Path, suite: str, components: Mapping[str, bytes], origin: str) -> None:
    directory = target / "dists" / suite
    for component, index in components.items():
        binary = directory / component / "binary-amd64"
        binary.mkdir(parents=True)
        (binary / "Packages").write_bytes(index)
    fields = {"Origin": origin, "Label": origin, "Suite": suite, "Codename": suite}
    release_file(target, directory, {**fields, "Components": " ".join(components)})


def write_index(directory: Path, place: str, target: Path) -> None:
    """apt's list of the packages in `place`, with paths that start at `directory`."""
    target.write_bytes(_ftparchive(directory, "packages", place))


def release_file(directory: Path, suite: Path, fields: Mapping[str, str]) -> None:
    """The Release file of a suite (or of a flat repository, which is its own suite)."""
    given = {"Architectures": "amd64 all", **fields}
    options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in given.items()]
    place = str(suite.relative_to(directory))
    (suite / "Release").write_bytes(_ftparchive(directory, *options, "release", place))


def sign_release(suite: Path, key: Path) -> None:
    """`key`: a directory with secret.asc."""
    with gpg_home() as gpg:
        gpg("--import", str(key / "secret.asc"))
        gpg("--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))
        signature = ("--output", str(suite / "Release.gpg"), str(suite / "Release"))
        gpg("--armor", "--detach-sign", *signature)


def _ftparchive(directory: Path, *arguments: str) -> bytes:
    command = ["apt-ftparchive", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout
