"""Writes .deb files: an `ar` archive of two tar archives, made here because hundreds are needed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path, PurePosixPath

from lab.packages.payload import File, contents
from lab.packages.recipe import Package

FIELDS = {
    "pre-depends": "Pre-Depends",
    "depends": "Depends",
    "recommends": "Recommends",
    "provides": "Provides",
    "conflicts": "Conflicts",
    "breaks": "Breaks",
    "replaces": "Replaces",
}
SCRIPT_HEAD = "#!/bin/sh\nset -e\n"


def write_deb(package: Package, directory: Path) -> Path:
    files = contents(package)
    target = directory / f"{package.name}_{package.version}_{package.architecture}.deb"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tar(_control_files(package, files)),
        "data.tar.gz": _tar(files),
    }
    with target.open("wb") as archive:
        archive.write(b"!<arch>\n")
        for name, content in members.items():
            archive.write(
                f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
            )
            archive.write(content + b"\n" * (len(content) % 2))
    return target


def _control_files(package: Package, files: list[File]) -> list[File]:
    settings = [file.path for file in files if file.path.startswith("/etc/") and not file.link]
    texts = {"/control": _control(package)}
    if settings:
        texts["/conffiles"] = "".join(f"{path}\n" for path in settings)
    found = [File(path, text.encode(), 0o644) for path, text in texts.items()]
    for moment in ("preinst", "postinst", "prerm", "postrm"):
        if moment in package.scripts:
            text = SCRIPT_HEAD + package.scripts[moment]
            found.append(File(f"/{moment}", text.encode(), 0o755))
    return found


def _control(package: Package) -> str:
    lines = [
        f"Package: {package.name}",
        f"Version: {package.version}",
        f"Architecture: {package.architecture}",
        "Maintainer: Lab <lab@localhost>",
        "Section: misc",
        "Priority: optional",
    ]
    for relation, field in FIELDS.items():
        if package.relations.get(relation):
            lines.append(f"{field}: {', '.join(package.relations[relation])}")
    return "\n".join([*lines, f"Description: {package.summary}", ""])


def _tar(files: list[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for directory in _directories(files):
            entry = tarfile.TarInfo(f".{directory}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for file in files:
            entry = tarfile.TarInfo(f".{file.path}")
            entry.mode, entry.size = file.mode, len(file.content)
            if file.link:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, file.link, 0o777
            archive.addfile(entry, io.BytesIO(file.content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


def _directories(files: list[File]) -> list[str]:
    """Every parent, from the top: dpkg does not make one that it was not given."""
    found = {str(parent) for file in files for parent in PurePosixPath(file.path).parents}
    return ["/", *sorted(found - {"/"})]
