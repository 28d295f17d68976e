"""An apt repository without suites (`Suites: /`), as NVIDIA's are: its signed index, its packages."""

import bz2
import gzip
import hashlib
import lzma
import re
from collections.abc import Callable, Iterator, Mapping

from ollama_fleet import web
from ollama_fleet.bundle.item import Item, PartError, inside, known, unpacked
from ollama_fleet.bundle.repository import Package, Repository
from ollama_fleet.pgp import can_verify, is_signed

INDEXES = re.compile(r"Packages(\.[a-z0-9]+)?")
# How each kind of index is read; a host's apt may want any of them.
READERS: Mapping[str, Callable[[bytes], bytes]] = {
    "Packages": bytes,
    "Packages.gz": gzip.decompress,
    "Packages.xz": lzma.decompress,
    "Packages.bz2": bz2.decompress,
}
_CLEARSIGNED = re.compile(
    r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[^\n]+\n)*\n(.*)\n-----BEGIN PGP SIGNATURE-----\n.*"
    r"-----END PGP SIGNATURE-----\s*",
    re.S,
)


def read_apt(url: str, folder: str, arch: str, key: bytes) -> Repository:
    """The repository at `url`, for the bundle's `folder`; packages of dpkg's `arch` only. Raises
    PartError and web.FetchError."""
    release = web.content(f"{url}/InRelease")
    if can_verify() and not is_signed(release, key):
        raise PartError(
            f"{url}/InRelease is not signed by the repository's key; nothing of it is taken"
        )
    indexes = list(_indexes(url, folder, _sums(url, release)))
    readable = [item for item in indexes if item.path.rpartition("/")[2] in READERS]
    if not readable:
        raise PartError(
            f"{url} has no index of packages that can be read here (Packages, .gz, .xz)"
        )
    heads = [*indexes, *_detached(url, folder), known(f"{folder}/InRelease", release, url)]
    packages = _packages(url, arch, readable[0])
    return Repository(url, folder, tuple(heads), tuple(packages))


def _sums(url: str, release: bytes) -> dict[str, tuple[str, int]]:
    """Name of each index to sha256 and size, out of what is signed and nothing around it."""
    signed = _CLEARSIGNED.fullmatch(release.decode(errors="replace"))
    rows = re.search(r"^SHA256:\n((?: .*(?:\n|$))+)", signed[1] if signed else "", re.M)
    if not rows:
        raise PartError(f"{url}/InRelease is no signed index of a package repository")
    found = [row.split() for row in rows[1].splitlines()]
    return {row[2]: (row[0], int(row[1])) for row in found if len(row) == 3 and row[1].isdigit()}


def _indexes(url: str, folder: str, sums: Mapping[str, tuple[str, int]]) -> Iterator[Item]:
    """Those that the server has: an index may name kinds that it lacks."""
    for name, (digest, _) in sorted(sums.items()):
        if not INDEXES.fullmatch(name):
            continue
        try:
            content = web.content(f"{url}/{name}")
        except web.FetchError as error:
            if error.not_there:
                continue
            raise
        if hashlib.sha256(content).hexdigest() != digest:
            raise PartError(
                f"{url}/{name} is not what its signed index says; the repository is being changed, run "
                "again in a while"
            )
        yield known(f"{folder}/{name}", content, f"{url}/{name}")


def _detached(url: str, folder: str) -> Iterator[Item]:
    """The same index for older clients, where it is there."""
    for name in ("Release", "Release.gpg"):
        try:
            yield known(f"{folder}/{name}", web.content(f"{url}/{name}"), f"{url}/{name}")
        except web.FetchError as error:
            if not error.not_there:
                raise


def _packages(url: str, arch: str, index: Item) -> Iterator[Package]:
    read = READERS[index.path.rpartition("/")[2]]
    text = unpacked(index.url, read, index.content or b"").decode(errors="replace")
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", stanza, re.M))
        if fields.get("Architecture") in (arch, "all"):
            yield _package(url, fields)


def _package(url: str, fields: Mapping[str, str]) -> Package:
    try:
        return Package(
            name=fields["Package"],
            version=fields["Version"],
            file=inside(url, fields["Filename"]),
            size=int(fields["Size"]),
            sha256=fields["SHA256"],
            needs=frozenset(_needs(fields)),
        )
    except (KeyError, ValueError) as error:
        what = fields.get("Package", "")
        raise PartError(f"{url} lists the package '{what}' without a usable {error}") from None


def _needs(fields: Mapping[str, str]) -> Iterator[str]:
    """Names in relations such as `a (>= 1) | b:any, c`."""
    for key in ("Pre-Depends", "Depends"):
        for relation in re.split(r"[,|]", fields.get(key, "")):
            if name := re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", relation):
                yield name[1]
