"""The mirror's nginx configuration: which paths it has, and where each comes from.

Every path is matched whole, by strict forms: what an upstream is asked for is put together from their
parts, so that nothing a client writes gets there otherwise.
"""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.sources import MANIFEST_TYPE, REGISTRY_PATH, TREE
from ollama_fleet.templating import MARKER, HostFile, render

CONFIGURATION = "/etc/nginx/conf.d/ollama-fleet-mirror.conf"
STATUS_PATH = "/fleet-mirror"
ERROR_LOG = "/var/log/nginx/ollama-fleet-mirror-error.log"
# Large ones waste no round trips on a fast line; small ones let those who wait for the first download
# of one go on soon on a slow line.
SLICE_MIB = 32

# Forms of names. None begins with a dot.
_NAME = "[A-Za-z0-9_][A-Za-z0-9._+~:@=-]*"
_PART = "[A-Za-z0-9_][A-Za-z0-9._-]{0,79}"
_MODEL = f"(?<ollama_fleet_model>{_PART}/{_PART})"
_DIGEST = "sha256:[0-9a-f]{64}"


@dataclass(frozen=True)
class Route:
    """Paths of one kind. `upstream` is the path at the second stage, `key` tells things in the cache
    apart. `immutable`: what has this name never changes, so it is kept for good, in slices. `located`:
    answers name their own address."""

    name: str
    what: str
    pattern: str
    upstream: str
    key: str
    immutable: bool = False
    content_type: str | None = None
    located: bool = False


def _files(name: str, what: str, pattern: str, immutable: bool = False) -> Route:
    """Files below one of the four places, under the very path that they have upstream."""
    place = name.rpartition("_")[0]
    top = getattr(TREE, place)
    return Route(
        name=name,
        what=what,
        pattern=f"{top}/(?<ollama_fleet_rest>{pattern})",
        upstream=f"/{place}/$ollama_fleet_rest",
        key=f"{top}/$ollama_fleet_rest",
        immutable=immutable,
    )


_ARCHIVE = f"v[0-9][A-Za-z0-9.-]*/{_NAME}"
_PACKAGE = rf"(?:{_NAME}/)*{_NAME}\.(?:deb|rpm)"
_ANY_FILE = f"(?:{_NAME}/)*{_NAME}"

# The first that fits a path is taken.
ROUTES = (
    Route(
        name="blob",
        what="Parts of models, named by their content: one copy, whichever model it is of.",
        pattern=f"{REGISTRY_PATH}/{_MODEL}/blobs/(?<ollama_fleet_digest>{_DIGEST})",
        upstream=f"/models{REGISTRY_PATH}/$ollama_fleet_model/blobs/$ollama_fleet_digest",
        key="blob $ollama_fleet_digest",
        immutable=True,
        located=True,
    ),
    Route(
        name="manifest",
        what="Which parts a model has: a tag may move.",
        pattern=f"{REGISTRY_PATH}/{_MODEL}/manifests/(?<ollama_fleet_tag>{_PART}|{_DIGEST})",
        upstream=f"/models{REGISTRY_PATH}/$ollama_fleet_model/manifests/$ollama_fleet_tag",
        key="manifest $ollama_fleet_model $ollama_fleet_tag",
        content_type=MANIFEST_TYPE,
    ),
    _files("releases_sums", "Checksums of a release.", r"v[0-9][A-Za-z0-9.-]*/sha256sum\.txt"),
    _files("releases_archives", "Archives of Ollama.", _ARCHIVE, immutable=True),
    _files("driver_packages", "The driver's packages.", _PACKAGE, immutable=True),
    _files("driver_indexes", "Indexes and keys of the driver's repositories.", _ANY_FILE),
    _files(
        "container_toolkit_packages", "The container toolkit's packages.", _PACKAGE, immutable=True
    ),
    _files("container_toolkit_indexes", "Index and key of its repository.", _ANY_FILE),
)


@dataclass(frozen=True)
class Machine:
    """What of a mirror's machine decides its configuration.

    `resolvers` are the name servers of its /etc/resolv.conf, `ca_bundle` the distribution's file of
    certificate authorities, `has_ipv6` whether its kernel has IPv6.
    """

    resolvers: tuple[str, ...]
    ca_bundle: str
    has_ipv6: bool


def mirror_file(mirror: MirrorPlan, machine: Machine) -> HostFile:
    """The one file of a mirror on its machine. The same plan and machine give the same bytes."""
    digest = configuration_digest(mirror, machine)
    return HostFile(CONFIGURATION, _configuration(mirror, machine, digest))


def configuration_digest(mirror: MirrorPlan, machine: Machine) -> str:
    """What a mirror in force answers at STATUS_PATH."""
    return hashlib.sha256(_configuration(mirror, machine, "").encode()).hexdigest()


def _configuration(mirror: MirrorPlan, machine: Machine, digest: str) -> str:
    origins = {name: _origin(url) for name, url in vars(mirror.upstreams).items()}
    return render(
        "mirror.nginx.j2",
        marker=MARKER,
        mirror=mirror,
        routes=ROUTES,
        listen=_listen(mirror, machine),
        follow=f"127.0.0.1:{mirror.port + 1}",
        registry=REGISTRY_PATH,
        status_path=STATUS_PATH,
        digest=digest,
        slice_mib=SLICE_MIB,
        resolvers=[_address(one) for one in machine.resolvers],
        ca_bundle=machine.ca_bundle,
        upstreams=vars(mirror.upstreams),
        origins=origins,
    )


def _listen(mirror: MirrorPlan, machine: Machine) -> list[str]:
    if mirror.listen:
        return [f"{_address(mirror.listen)}:{mirror.port}"]
    return [str(mirror.port), *([f"[::]:{mirror.port}"] if machine.has_ipv6 else [])]


def _address(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
