"""Builds rpm packages (many per rpmbuild run), signs them, and makes their repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from lab.keys import gpg_home
from lab.network import MIRROR_ADDRESS
from lab.packages import modules
from lab.packages.payload import File, contents
from lab.packages.recipe import Package
from lab.packages.signing import KEYS, secret_key

RELATIONS = {
    "requires": "Requires",
    "provides": "Provides",
    "conflicts": "Conflicts",
    "obsoletes": "Obsoletes",
}
SETTINGS = ("/etc/modprobe.d/", "/etc/dkms/", "/etc/nvidia-container-toolkit/")
OWN = ("/usr/src/", "/usr/lib/firmware/nvidia/", "/etc/nvidia-container-toolkit/")
# The main package of a set has no files and is therefore not built.
SPEC_HEAD = """%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%global _binary_payload w1.gzdio
Name: lab-set
Version: 1
Release: 1
Summary: a set of packages
License: none
%description
A set of packages.
"""
REPO_FILE = """[{name}]
name={name}
baseurl={url}
enabled=1
gpgcheck={gpgcheck}
repo_gpgcheck={repo_gpgcheck}
gpgkey={key_url}
"""

Wanted = dict[Path, tuple[dict[str, Any], list[Package]]]


@dataclass
class _Set:
    """Packages that one spec file can make: no name and no path twice."""

    target: Path
    packages: list[tuple[Package, list[File]]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def add(self, package: Package, files: list[File]) -> bool:
        names = {package.name, *(file.path for file in files)}
        if self.taken & names:
            return False
        self.taken |= names
        self.packages.append((package, files))
        return True


def build_repositories(wanted: Wanted) -> None:
    """`wanted`: directory → its row of repositories.yml and the packages in it."""
    sets: list[_Set] = []
    for target, (_, packages) in wanted.items():
        target.mkdir(parents=True)
        sets += _sets(target, packages)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_build_set, sets))
        list(pool.map(_finish, wanted, (row for row, _ in wanted.values())))


def _sets(target: Path, packages: Iterable[Package]) -> list[_Set]:
    found: list[_Set] = []
    for package in packages:
        files = contents(package)
        if not any(each.add(package, files) for each in found):
            found.append(_Set(target))
            found[-1].add(package, files)
    return found


def _build_set(wanted: _Set) -> None:
    with TemporaryDirectory(prefix="lab-rpm-") as work:
        tree, spec = Path(work, "tree"), Path(work, "set.spec")
        tree.mkdir()
        for _, files in wanted.packages:
            for file in files:
                _write(tree, file)
        spec.write_text(_spec(wanted, tree))
        _run(
            *(
                "rpmbuild",
                "-bb",
                "--quiet",
                f"--define=_topdir {work}",
                f"--define=_rpmdir {work}/out",
            ),
            *("--define=_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", str(spec)),
        )
        for made in Path(work, "out").glob("*.rpm"):
            shutil.move(made, wanted.target / made.name)


def _write(tree: Path, file: File) -> None:
    target = tree / file.path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.link:
        target.symlink_to(file.link)
    else:
        target.write_bytes(file.content)
        target.chmod(file.mode)


def _spec(wanted: _Set, tree: Path) -> str:
    parts = [SPEC_HEAD]
    for package, files in wanted.packages:
        parts += [_head(package), _scripts(package), _file_list(package, files)]
    parts.append(f"%install\nmkdir -p %{{buildroot}}\ncp -a {tree}/. %{{buildroot}}/\n")
    return "\n".join(parts)


def _head(package: Package) -> str:
    epoch, _, rest = package.version.rpartition(":")
    version, _, release = rest.rpartition("-")
    lines = [f"%package -n {package.name}", f"Version: {version}", f"Release: {release}"]
    lines += [f"Epoch: {epoch}"] * bool(epoch)
    lines += ["BuildArch: noarch"] * (package.architecture == "noarch")
    lines += [f"Summary: {package.summary}", "License: none", "AutoReqProv: no"]
    for relation, tag in RELATIONS.items():
        lines += [f"{tag}: {other}" for other in package.relations.get(relation, ())]
    return "\n".join([*lines, f"%description -n {package.name}", package.summary, ""])


def _scripts(package: Package) -> str:
    moments = ("post", "preun", "postun", "posttrans")
    found = [(moment, package.scripts[moment]) for moment in moments if moment in package.scripts]
    return "".join(f"%{moment} -n {package.name}\n{text}\n" for moment, text in found)


def _file_list(package: Package, files: list[File]) -> str:
    """With the directories that are the package's alone, so that they go with it."""
    own = {str(PurePosixPath(file.path).parent) for file in files if file.path.startswith(OWN)}
    lines = [f"%dir {directory}" for directory in sorted(own)]
    for file in files:
        kind = "%config(noreplace) " if file.path.startswith(SETTINGS) else ""
        lines.append(kind + file.path)
    return "\n".join([f"%files -n {package.name}", *lines, ""])


def _finish(target: Path, row: dict[str, Any]) -> None:
    """Packages that are there → a repository."""
    if row.get("sign_packages"):
        _sign_packages(target, row["key"])
    _run("createrepo_c", "--quiet", "--simple-md-filenames", str(target))
    if row.get("modules"):
        listing = target / "modules.yaml"
        listing.write_text(modules.describe(modules.rows_of(target), row["values"]["el"]))
        _run("modifyrepo_c", "--simple-md-filenames", str(listing), str(target / "repodata"))
        listing.unlink()
    if row.get("sign_metadata"):
        with gpg_home() as gpg:
            gpg("--import", str(KEYS / row["key"] / "secret.asc"))
            gpg("--armor", "--detach-sign", str(target / "repodata/repomd.xml"))


def _sign_packages(target: Path, key: str) -> None:
    with gpg_home() as gpg:
        gpg("--import", str(secret_key(key)))
        packages = sorted(str(path) for path in target.glob("*.rpm"))
        name = f"--define=_gpg_name Lab stand-in for {key}"
        program = f"--define=__gpg {shutil.which('gpg')}"
        home = f"--define=_gpg_path {gpg.home}"
        _run("rpmsign", "--addsign", home, program, name, *packages)


def make_database(target: Path, packages: Path, names: Iterable[str]) -> None:
    """An rpm database in which these packages are installed, without their files."""
    target.mkdir(parents=True)
    found = [str(next(packages.glob(f"{name}-[0-9]*.rpm"))) for name in names]
    options = ("--justdb", "--nodeps", "--noscripts", "--nosignature")
    _run("rpm", f"--define=_dbpath {target}", *options, "--install", *found)


def repo_file(path: str, row: dict[str, Any]) -> str:
    """The .repo file that the public original offers for download."""
    base = f"http://{MIRROR_ADDRESS}/"
    key = row.get("key_path") or f"{path}/{row['key_file']}"
    return REPO_FILE.format(
        name=row["repo_name"],
        url=f"{base}{path}",
        gpgcheck=int("sign_packages" in row),
        repo_gpgcheck=int("sign_metadata" in row),
        key_url=base + key,
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
