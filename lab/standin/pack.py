"""Packs the stand-in as an Ollama release: the archive and its checksums; knows no mirror paths."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_VERSION = "0.32.15"
ARCHIVE = "ollama-linux-amd64.tar.zst"
CHECKSUMS = "sha256sum.txt"
VERSION_FILE = "lib/ollama/VERSION"
PAYLOAD = Path(__file__).parent / "payload"
CACHE = Path(__file__).parents[2] / ".lab" / "cache"
EXECUTABLES = {"bin/ollama", "lib/ollama/llama-server"}


def build_release(destination: Path, version: str = DEFAULT_VERSION, cache: Path = CACHE) -> Path:
    """Put the archive and its checksums into the directory; an archive in the cache goes first.

    Unchanged files are left alone, and a reader never sees half of one.
    """
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / ARCHIVE
    real = cache / ARCHIVE
    if real.is_file():
        _link(real, archive)
    else:
        _write_if_changed(archive, _compress(_tar(version)))
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _write_if_changed(destination / CHECKSUMS, f"{digest}  ./{ARCHIVE}\n".encode())
    return archive


def _files(version: str) -> dict[str, bytes]:
    """Every file of the release by its path in the archive."""
    paths = [path for path in PAYLOAD.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = {path.relative_to(PAYLOAD).as_posix(): path.read_bytes() for path in paths}
    return files | {VERSION_FILE: f"{version}\n".encode()}


def _tar(version: str) -> bytes:
    """The same bytes for the same payload: sorted, no times, owned by root."""
    files = _files(version)
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(folders | set(files)):
            member = tarfile.TarInfo(name)
            if name in files:
                member.size = len(files[name])
                member.mode = 0o755 if name in EXECUTABLES else 0o644
                tar.addfile(member, io.BytesIO(files[name]))
            else:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
    return buffer.getvalue()


def _compress(content: bytes) -> bytes:
    command = ["zstd", "--quiet", "-10", "--single-thread", "--stdout"]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


def _write_if_changed(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    with _staged(path) as staged:
        staged.write_bytes(content)


def _link(source: Path, target: Path) -> None:
    """The very file where the file system allows it, else a copy."""
    if target.exists() and target.samefile(source):
        return
    with _staged(target) as staged:
        staged.unlink(missing_ok=True)
        try:
            os.link(source, staged)
        except OSError:
            shutil.copyfile(source, staged)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A path beside the target that takes its place when all went well."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(descriptor)
    staged = Path(name)
    try:
        yield staged
        staged.chmod(0o644)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
