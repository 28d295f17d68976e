"""A dnf repository: its metadata as it is, its packages."""

import bz2
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree

from ollama_fleet import web
from ollama_fleet.bundle.item import Item, PartError, inside, known, unpacked
from ollama_fleet.bundle.repository import Package, Repository
from ollama_fleet.pgp import can_verify, is_signed

REPO = "{http://linux.duke.edu/metadata/repo}"
COMMON = "{http://linux.duke.edu/metadata/common}"
RPM = "{http://linux.duke.edu/metadata/rpm}"
READERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".xml": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}


def read_dnf(url: str, folder: str, arch: str, key: bytes, signed: bool) -> Repository:
    """The repository at `url`, for the bundle's `folder`; packages of rpm's `arch` only. Raises
    PartError and web.FetchError.

    + signed: hosts want the metadata itself signed; else their packages are
    """
    start = web.content(f"{url}/repodata/repomd.xml")
    signature = _signature(url)
    if signature is None and signed:
        raise PartError(f"{url}/repodata/repomd.xml.asc is not there, and hosts ask for it")
    if signature and can_verify() and not is_signed(start, key, signature):
        raise PartError(f"{url}/repodata/repomd.xml is not signed by the repository's key")
    items: dict[str, Item] = {}
    for kind, name, digest in _metadata(url, start):
        items[kind] = _item(url, folder, name, digest)
    if "primary" not in items:
        raise PartError(f"{url}/repodata/repomd.xml names no list of packages")
    heads = list(items.values())
    if signature:
        heads.append(known(f"{folder}/repodata/repomd.xml.asc", signature, url))
    heads.append(known(f"{folder}/repodata/repomd.xml", start, url))
    packages = _packages(url, arch, items["primary"])
    return Repository(url, folder, tuple(heads), tuple(packages))


def _signature(url: str) -> bytes | None:
    try:
        return web.content(f"{url}/repodata/repomd.xml.asc")
    except web.FetchError as error:
        if error.not_there:
            return None
        raise


def _metadata(url: str, start: bytes) -> Iterator[tuple[str, str, str]]:
    """Kind, file and sha256 of each part of the metadata."""
    try:
        root = ElementTree.fromstring(start)
    except ElementTree.ParseError:
        raise PartError(f"{url}/repodata/repomd.xml is no metadata of a repository") from None
    for data in root.iter(f"{REPO}data"):
        where, sum_of = data.find(f"{REPO}location"), data.find(f"{REPO}checksum")
        if where is None or sum_of is None or sum_of.get("type") != "sha256":
            raise PartError(f"{url}/repodata/repomd.xml has a part without place or sha256")
        yield data.get("type", ""), where.get("href", ""), sum_of.text or ""


def _item(url: str, folder: str, name: str, digest: str) -> Item:
    place = f"{folder}/{inside(url, name)}"
    content = web.content(f"{url}/{name}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise PartError(
            f"{url}/{name} is not what its index says; the repository is being changed, run again in a "
            "while"
        )
    return known(place, content, f"{url}/{name}")


def _packages(url: str, arch: str, primary: Item) -> Iterator[Package]:
    ending = f".{primary.path.rpartition('.')[2]}"
    if ending not in READERS:
        raise PartError(f"{url} packs its list of packages as {ending}, which cannot be read here")
    stream = io.BytesIO(unpacked(primary.url, READERS[ending], primary.content or b""))
    try:
        for _, element in ElementTree.iterparse(stream):
            if element.tag == f"{COMMON}package":
                if element.findtext(f"{COMMON}arch") in (arch, "noarch"):
                    yield _package(url, element)
                element.clear()
    except (ElementTree.ParseError, ValueError) as error:
        raise PartError(f"{primary.url} is no list of packages: {error}") from None


def _package(url: str, element: ElementTree.Element) -> Package:
    version, size, place, digest = (
        element.find(f"{COMMON}{name}") for name in ("version", "size", "location", "checksum")
    )
    name = element.findtext(f"{COMMON}name", "")
    if version is None or size is None or place is None or digest is None:
        raise PartError(f"{url} lists the package '{name}' without version, size, place or sha256")
    if digest.get("type") != "sha256":
        raise PartError(f"{url} lists the package '{name}' without a sha256")
    full = f"{version.get('epoch', '0')}:{version.get('ver')}-{version.get('rel')}"
    requires = element.find(f"{COMMON}format/{RPM}requires")
    return Package(
        name=name,
        version=full,
        file=inside(url, place.get("href", "")),
        size=int(size.get("package", "0")),
        sha256=digest.text or "",
        needs=frozenset(
            entry.get("name", "") for entry in (requires if requires is not None else ())
        ),
    )
