"""The base image that all hosts share, and the layers above it; built once, then cached.

A build goes into a directory of its own and is renamed when complete, so that an interrupted one
is never used. Which packages: image.yml. Knows nothing of hosts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from rich.console import Console

from lab import prerequisites
from lab.errors import LabError
from lab.state import CACHE, PACKAGE, locked, mount_points, remove_tree

RECIPE = PACKAGE / "image.yml"
CUSTOMIZE = PACKAGE / "customize.sh"
DOWNLOAD = PACKAGE / "download.sh"
DNF_LAYER = PACKAGE / "dnf_layer.sh"
SOURCE_LINE = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(CODENAME)|$(ORIGIN)"
# apt settings of the outer machine that a build must not inherit: they are about its index files.
NOT_INHERITED = ("Acquire::IndexTargets", "Acquire::cdrom", "Acquire::Languages")


@dataclass(frozen=True)
class Image:
    """`base`: every host's lowest layer; `debs`: the Debian packages that the mirror serves."""

    directory: Path

    @property
    def base(self) -> Path:
        return self.directory / "base"

    @property
    def debs(self) -> Path:
        return self.directory / "debs"

    def layer(self, name: str) -> Path:
        """One of image.yml's layers, which goes above the base."""
        return self.directory / name

    def lower(self, layer: str | None) -> list[str]:
        """What a host's root is made of, the uppermost first."""
        return [*([str(self.layer(layer))] if layer else []), str(self.base)]


def recipe() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RECIPE.read_text())
    return found


def current_image(cache: Path = CACHE) -> Image:
    """Where the image of the present recipe is, or will be."""
    parts = [json.dumps(recipe(), sort_keys=True)]
    parts += [script.read_text() for script in (CUSTOMIZE, DOWNLOAD, DNF_LAYER)]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return Image(cache / f"base-{digest}")


def ensure_image(console: Console, cache: Path = CACHE) -> Image:
    image = current_image(cache)
    if image.directory.exists():
        return image
    with locked(cache / "build.lock"):
        if not image.directory.exists():
            _clear_torsos(cache)
            _build(image, console)
    return image


def _build(image: Image, console: Console) -> None:
    started = time.monotonic()
    console.print("==> Building the base image (once; about half a minute) ...")
    torso = Image(image.directory.with_name(f"{image.directory.name}.torso"))
    torso.directory.mkdir(parents=True)
    with console.status("starting mmdebstrap") as status:
        for line in _mmdebstrap(torso, console):
            status.update(f"{line} ({time.monotonic() - started:.0f} s)")
        for name, packages in recipe()["layers"].items():
            status.update(f"installing the packages of the layer '{name}'")
            _build_layer(torso, name, packages)
    torso.directory.rename(image.directory)
    console.print(f"    base image ready after {time.monotonic() - started:.0f} s")


def _clear_torsos(cache: Path) -> None:
    for torso in cache.glob("*.torso"):
        for mount in reversed(mount_points()):
            if mount.startswith(f"{torso}/"):
                subprocess.run(["umount", mount], check=True)
        remove_tree(torso)


def _mmdebstrap(torso: Image, console: Console) -> Iterator[str]:
    """Yields what mmdebstrap is doing."""
    plan = recipe()
    options, sources = torso.directory / "apt.conf", torso.directory / "outer.list"
    options.write_text(_apt_options())
    sources.write_text("\n".join(_apt_sources(plan["suite"], console)) + "\n")
    command = [
        *("mmdebstrap", "--variant=minbase", "--mode=root", f"--aptopt={options}"),
        f"--include={','.join(plan['packages'])}",
        f'--customize-hook={quote(str(DOWNLOAD))} "$1" {torso.debs} "{" ".join(plan["served"])}"',
        f'--customize-hook={quote(str(CUSTOMIZE))} "$1"',
        *(plan["suite"], str(torso.base), str(sources)),
    ]
    log = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        for raw in process.stderr:
            line = raw.decode(errors="replace").strip().split("\r")[-1]
            log.append(line)
            if line.startswith("I: "):
                yield line[3:]
    options.unlink()
    sources.unlink()
    if process.returncode:
        raise LabError("the base image could not be built:\n" + "\n".join(log[-15:]))


def _apt_options() -> str:
    """How this machine reaches its package archive (proxies, time limits, date checks)."""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    own = [line for line in dump if line.count("::") and not line.startswith(NOT_INHERITED)]
    return "\n".join([*own, 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d/";']) + "\n"


def _apt_sources(suite: str, console: Console) -> list[str]:
    """This machine's own Debian sources for the suite, as they are now."""
    found = _indexed_sources(suite)
    if not found:
        prerequisites.refresh_lists(console)
        found = _indexed_sources(suite)
    if not found:
        raise LabError(
            f"this machine's apt has no Debian source for {suite}, which lab hosts are made of: "
            "add one under /etc/apt/sources.list.d and run this again"
        )
    return found


def _indexed_sources(suite: str) -> list[str]:
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", SOURCE_LINE, "Created-By: Packages"],
        capture_output=True,
        text=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return [row[0] for row in rows if row[1].startswith(suite) and row[2] == "Debian"]


def _build_layer(torso: Image, name: str, packages: list[str]) -> None:
    """Installed over the base image from the packages just fetched."""
    merged, work, layer = torso.directory / "merged", torso.directory / "work", torso.layer(name)
    for directory in (merged, work, layer):
        directory.mkdir()
    options = f"lowerdir={torso.base},upperdir={layer},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True)
    try:
        _install_debs(merged, torso.debs, packages)
        if name == "dnf":
            subprocess.run([str(DNF_LAYER), str(merged)], check=True)
    finally:
        subprocess.run(["umount", str(merged)], check=True)
    merged.rmdir()
    shutil.rmtree(work)


def _install_debs(tree: Path, debs: Path, packages: list[str]) -> None:
    """With apt in the tree, its only source being the directory of .deb files."""
    pool, sources = tree / "var/tmp/debs", tree / "etc/apt/sources.list.d/build.list"
    shutil.copytree(debs, pool)
    with (pool / "Packages").open("wb") as index:
        subprocess.run(["apt-ftparchive", "packages", "."], cwd=pool, stdout=index, check=True)
    sources.write_text("deb [trusted=yes] file:/var/tmp/debs ./\n")
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    _in_tree(tree, "apt-get", "update", "-qq")
    _in_tree(tree, "apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages)
    _in_tree(tree, "apt-get", "clean")
    for leftover in (sources, policy):
        leftover.unlink()
    shutil.rmtree(pool)
    for listed in (tree / "var/lib/apt/lists").glob("*debs*"):
        listed.unlink()


def _in_tree(tree: Path, *command: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["chroot", str(tree), *command], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise LabError(f"{' '.join(command)} failed in the image:\n{done.stdout}{done.stderr}")
