"""What a person writes about mirrors: machines on the LAN that fetch each byte once, for all hosts.

Part of `spec`, which says the rest. Much of it ends in a configuration of nginx, so the forms are strict.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from ollama_fleet.sources import PUBLIC
from ollama_fleet.spec.addresses import read_ip, read_network
from ollama_fleet.spec.rules import LOADER_PORT, rule_broken
from ollama_fleet.spec.servers import Spec
from ollama_fleet.spec.ssh import Address, Connection, Ssh, SshSpec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

NO_MIRROR = "none"
# Private and link-local networks: a mirror is for the LAN.
PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("fc00::/7", "fe80::/10"),
)
# Slices without a port of their own take those from the loader's up, on loopback.
PORTS_OF_SLICES = range(LOADER_PORT, LOADER_PORT + 256)
# What says where a mirror runs and how it serves: nothing for one that is somebody else's.
OF_MANAGED = (
    *("address", "connection", "ssh", "host", "port", "listen"),
    *("cache", "allow", "upstreams", "folder", "offline"),
)

_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?"
MirrorUrl = Annotated[str, Field(pattern=rf"^https?://{_HOST}/?$")]
Upstream = Annotated[str, Field(pattern=rf"^https?://{_HOST}(/[A-Za-z0-9._~/-]*)?$")]
Folder = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}$")]
MirrorChoice = Annotated[
    str | None,
    Field(
        description="Which of `mirrors` it fetches through, or none; default: the first. What names an "
        "address itself (release_url, registry, repository) goes before."
    ),
]


class UpstreamsSpec(Spec):
    """Where a mirror fetches from: the public originals, or another mirror."""

    releases: Upstream = Field(PUBLIC.releases, description="Ollama's releases.")
    models: Upstream = Field(PUBLIC.models, description="The model registry, without /v2.")
    driver: Upstream = Field(PUBLIC.driver, description="NVIDIA's driver repositories.")
    container_toolkit: Upstream = Field(
        PUBLIC.container_toolkit, description="NVIDIA's container toolkit repository."
    )


class CacheSpec(Spec):
    """What a mirror keeps."""

    path: Folder = Field(
        "/var/cache/ollama-fleet", description="Its directory, for nothing else: nginx empties it."
    )
    max_gib: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(
        500,
        description="Most that it takes, in GiB; beyond it goes what was not asked for longest.",
    )


class MirrorSpec(Spec):
    """A machine that serves releases, packages and models to the hosts and keeps what it fetched."""

    manage: StrictBool = Field(
        True, description="false: it is there already (`url` says where) and never touched."
    )
    host: str | None = Field(
        None, description="Run it on this one of `hosts`, instead of on a machine of its own."
    )
    address: Address = None
    connection: Connection = "ssh"
    ssh: Ssh = SshSpec()
    port: Annotated[int, Field(ge=1, le=65534)] = Field(
        8480, description="Where it listens; the next port is taken on loopback, too."
    )
    listen: str | None = Field(
        None, description="The one IP address on which it listens; default: all."
    )
    url: MirrorUrl | None = Field(
        None, description="How hosts reach it; default: http://<address>:<port>."
    )
    cache: CacheSpec = Field(default=CacheSpec(), description="What it keeps.")
    allow: Annotated[list[str], Field(min_length=1)] = Field(
        default=list(PRIVATE),
        description="Networks that may fetch from it, such as 10.0.0.0/8; itself always may.",
    )
    upstreams: UpstreamsSpec = Field(
        default=UpstreamsSpec(), description="Where it fetches from itself."
    )
    folder: Folder | None = Field(
        None, description="A directory there with the same tree (a bundle), served before all else."
    )
    offline: StrictBool = Field(False, description="Serve `folder` only and fetch nothing.")

    @model_validator(mode="after")
    def _rules(self) -> "MirrorSpec":
        for error in _mirror_rules(self):
            raise error
        return self


def _mirror_rules(spec: MirrorSpec) -> Iterator[PydanticCustomError]:
    """Check one mirror by itself."""
    if not spec.manage:
        yield from _unmanaged(spec)
    if spec.host:
        for key in sorted({"address", "connection", "ssh"} & spec.model_fields_set):
            yield rule_broken((key,), f"`hosts.{spec.host}` says it; drop it here")
    if spec.offline and not spec.folder:
        yield rule_broken(("offline",), "has nothing to serve; name the bundle's `folder:`, too")
    yield from _networks(spec)


def _unmanaged(spec: MirrorSpec) -> Iterator[PydanticCustomError]:
    if spec.url is None:
        yield rule_broken((), "with `manage: false` needs a `url:`, so that hosts find it")
    for key in OF_MANAGED:
        if key in spec.model_fields_set:
            yield rule_broken((key,), "is not ours to say with `manage: false`; drop one of them")


def _networks(spec: MirrorSpec) -> Iterator[PydanticCustomError]:
    for index, network in enumerate(spec.allow):
        try:
            read_network(network)
        except ValueError as error:
            what = f"{error}; write a network such as 10.0.0.0/8 or an address"
            yield rule_broken(("allow", index), what)
    try:
        read_ip(spec.listen or "::")
    except ValueError:
        yield rule_broken(("listen",), f"'{spec.listen}' is no IP address; leave it out for all")


def fleet_mirror_rules(fleet: "Fleet") -> None:
    """Check a fleet's mirrors against its hosts, and which mirror they choose."""
    for rule in (_names, _hosts_of_mirrors, _one_is_local, _choices, _no_loops):
        for error in rule(fleet):
            raise error


def _names(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    for name in fleet.mirrors:
        if name in fleet.hosts:
            what = "is the name of a host, too; rename it (to run it there: `host:`)"
            yield rule_broken(("mirrors", name), what)
        if name == NO_MIRROR:
            yield rule_broken(("mirrors", name), f"'{NO_MIRROR}' means no mirror; rename it")


def _hosts_of_mirrors(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    seen: dict[str, str] = {}
    for name, spec in fleet.mirrors.items():
        at = ("mirrors", name, "host")
        if spec.host is None:
            continue
        if spec.host not in fleet.hosts:
            yield rule_broken(
                at, f"no host is named '{spec.host}'; `hosts:` has {_list(fleet.hosts)}"
            )
        elif spec.host in seen:
            yield rule_broken(at, f"{spec.host} runs mirror '{seen[spec.host]}' already; keep one")
        elif {spec.port, spec.port + 1} & {
            *PORTS_OF_SLICES,
            *(item.port for item in fleet.hosts[spec.host].slices),
        }:
            what = f"{spec.port} or the next one is for the host's slices; choose another, such as 8480"
            yield rule_broken(("mirrors", name, "port"), what)
        seen[spec.host] = name


def _one_is_local(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """pyinfra knows this machine by one name only."""
    local = [name for name, spec in fleet.hosts.items() if spec.connection == "local"]
    for name, spec in fleet.mirrors.items():
        if spec.connection == "local" and local:
            what = f"{local[0]} is this machine already; write `host: {local[0]}` instead"
            yield rule_broken(("mirrors", name, "connection"), what)
        local += [name] if spec.connection == "local" else []


def _choices(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    places = [((), fleet.mirror), *((("hosts", n), h.mirror) for n, h in fleet.hosts.items())]
    for at, choice in places:
        if choice not in (None, NO_MIRROR, *fleet.mirrors):
            what = f"no mirror is named '{choice}'; `mirrors:` has {_list(fleet.mirrors)}"
            yield rule_broken((*at, "mirror"), what)


def _no_loops(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A mirror that fetched from itself would wait for itself."""
    for name, spec in fleet.mirrors.items():
        own = urlsplit(spec.url or "").netloc or f"{spec.address or name}:{spec.port}"
        for key, url in vars(spec.upstreams).items():
            if urlsplit(url).netloc == own:
                at = ("mirrors", name, "upstreams", key)
                yield rule_broken(at, f"{own} is the mirror itself; name what it fetches from")


def _list(names: object) -> str:
    known = list(names)[:10] if isinstance(names, dict) else []
    return ", ".join(known) or "none"
