"""The lab's signed apt repository, built from the packages that came with the base image."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from lab.keys import gpg_home

SUITE = "bookworm"
RELEASE_FIELDS = {
    "Origin": "Lab",
    "Label": "Lab",
    "Suite": SUITE,
    "Codename": SUITE,
    "Architectures": "amd64 all",
    "Components": "main",
}


def ensure_repository(target: Path, debs: Path, archive_key: Path) -> None:
    """Idempotent: the stamp, written last, says which packages and key the tree was made of."""
    stamp, wanted = target / ".made-of", _made_of(debs, archive_key)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    pool = target / "pool/main"
    pool.mkdir(parents=True)
    for deb in sorted(debs.glob("*.deb")):
        _link_or_copy(deb, pool / deb.name)
    _index(target)
    _sign(target / "dists" / SUITE, archive_key)
    stamp.write_text(wanted)


def _made_of(debs: Path, archive_key: Path) -> str:
    names = "\n".join(sorted(path.name for path in debs.glob("*.deb")))
    return hashlib.sha256(names.encode() + (archive_key / "public.gpg").read_bytes()).hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
    target.chmod(0o644)


def _index(target: Path) -> None:
    suite = target / "dists" / SUITE
    binary = suite / "main/binary-amd64"
    binary.mkdir(parents=True)
    packages = _ftparchive(target, "packages", "pool/main")
    (binary / "Packages").write_bytes(packages)
    fields = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in RELEASE_FIELDS.items()]
    (suite / "Release").write_bytes(_ftparchive(target, *fields, "release", f"dists/{SUITE}"))


def _ftparchive(directory: Path, *arguments: str) -> bytes:
    command = ["apt-ftparchive", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout


def _sign(suite: Path, archive_key: Path) -> None:
    with gpg_home() as gpg:
        gpg("--import", str(archive_key / "secret.asc"))
        gpg("--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))
        signature = ("--output", str(suite / "Release.gpg"), str(suite / "Release"))
        gpg("--armor", "--detach-sign", *signature)
