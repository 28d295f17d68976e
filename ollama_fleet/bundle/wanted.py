"""What the hosts of a plan need of each source, as look-ups that can fail one by one.

Kinds of things that a bundle holds are listed in `lookups`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ollama_fleet.bundle.driver import driver_part
from ollama_fleet.bundle.item import Part, PartError
from ollama_fleet.bundle.models import clash, model_part
from ollama_fleet.bundle.release import release_part
from ollama_fleet.bundle.toolkit import toolkit_part
from ollama_fleet.catalogue.distribution import distribution_named
from ollama_fleet.locking import named_models, tag_now
from ollama_fleet.planner.plan import HostPlan, Release
from ollama_fleet.planner.provision import DriverRequest, ToolkitRequest
from ollama_fleet.preflight import ARCHITECTURES
from ollama_fleet.registry import Manifest, Registry, RegistryError
from ollama_fleet.web import FetchError

AT_ONCE = 8
MACHINES = {arch: machine for machine, arch in ARCHITECTURES.items()}
Request = TypeVar("Request", DriverRequest, ToolkitRequest)


@dataclass(frozen=True)
class Scope:
    """What a bundle is for: plans of hosts (with release and lock), architectures (amd64, arm64), and
    the distributions by the names that people give them."""

    plans: Mapping[str, HostPlan]
    arches: Sequence[str]
    distributions: Sequence[str]

    @property
    def machines(self) -> list[str]:
        """The architectures as `uname -m` says them."""
        return [MACHINES[arch] for arch in self.arches]


@dataclass(frozen=True)
class Lookup:
    """A part that is still to be looked up at its source."""

    name: str
    find: Callable[[], Part]


@dataclass(frozen=True)
class Failure:
    """What is not in the bundle, and why, in words."""

    what: str
    why: str


def lookups(scope: Scope, registry: Registry) -> list[Lookup]:
    """Everything that the hosts need. Raises PartError for what no bundle can hold at once."""
    return [
        *_releases(scope),
        *_models(scope, registry),
        *_drivers(scope),
        *_toolkits(scope),
        *_own_files(scope),
    ]


def look_up(wanted: Sequence[Lookup]) -> tuple[list[Part], list[Failure]]:
    """Ask all sources; what one of them does not have keeps nobody else's from being found."""
    parts: list[Part] = []
    failures: list[Failure] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [(one.name, pool.submit(one.find)) for one in wanted]
    for name, answer in answers:
        try:
            parts.append(answer.result())
        except (PartError, FetchError, RegistryError) as error:
            failures.append(Failure(name, str(error)))
    return parts, failures


def unlocked(scope: Scope) -> list[str]:
    """Models of which nobody has said what they mean exactly."""
    return sorted(
        {
            model
            for plan in scope.plans.values()
            for model in plan.pulled
            if plan.store.lock_of(model) is None
        }
    )


def _own_files(scope: Scope) -> Iterator[Lookup]:
    """Files of custom models that hosts fetch by themselves: no deploy would ask a bundle for them."""
    named = {
        custom.name: custom.source
        for plan in scope.plans.values()
        for custom in plan.custom
        if custom.kind == "url"
    }
    for model, url in named.items():
        yield Lookup(f"the file of {model}", partial(_no_part, model, url))


def _no_part(model: str, url: str) -> Part:
    raise PartError(
        f"hosts fetch it from {url}; fetch it to this machine and name the file in "
        f"`custom_models: {{{model}: {{gguf: …}}}}`"
    )


def _releases(scope: Scope) -> Iterator[Lookup]:
    found: dict[str, Release] = {}
    for host, plan in scope.plans.items():
        release = plan.ollama
        other = found.setdefault(release.version, release)
        if any(other.sha256.get(arch) != release.sha256.get(arch) for arch in scope.arches):
            raise PartError(
                f"{host} pins other checksums of Ollama {release.version} than another host; make them "
                "one, or bundle them apart, with --host"
            )
    for version, release in found.items():
        yield Lookup(f"Ollama {version}", partial(release_part, release, scope.arches))


def _models(scope: Scope, registry: Registry) -> Iterator[Lookup]:
    registries = {host: plan.ollama.registry for host, plan in scope.plans.items()}
    named = named_models(scope.plans, registries)
    if trouble := clash(named):
        raise PartError(trouble)
    for model, bases in named.items():
        yield Lookup(model, partial(_model, scope, model, bases, registry))


def _model(
    scope: Scope, model: str, bases: Mapping[str, tuple[str, ...]], registry: Registry
) -> Part:
    locks = (plan.store.lock_of(model) for plan in scope.plans.values())
    locked = next(filter(None, locks), None)
    manifest = Manifest(locked.manifest) if locked else tag_now(model, bases, registry)
    return model_part(model, manifest, next(iter(bases)), registry)


def _drivers(scope: Scope) -> Iterator[Lookup]:
    asked = {host: plan.provision.driver for host, plan in scope.plans.items()}
    requests = _alike({host: one for host, one in asked.items() if one.manage}, "driver")
    for name in scope.distributions if requests else ():
        for machine in scope.machines:
            distribution = distribution_named(name, machine)
            yield Lookup(
                f"driver for {distribution.name}, {machine}",
                partial(driver_part, requests, distribution, machine),
            )


def _toolkits(scope: Scope) -> Iterator[Lookup]:
    asked = {host: plan.provision.toolkit for host, plan in scope.plans.items()}
    wanted = {host: one for host, one in asked.items() if one.install is not False}
    requests = _alike(wanted, "container_toolkit")
    kinds = {
        (distribution_named(name, machine).packager, machine): None
        for name in scope.distributions
        for machine in scope.machines
    }
    for packager, machine in kinds if requests else ():
        yield Lookup(
            f"container toolkit for {packager}, {machine}",
            partial(toolkit_part, requests, packager, machine),
        )


def _alike(requests: Mapping[str, Request], key: str) -> list[Request]:
    """What hosts ask for, each once. Raises PartError where they name different repositories: those
    would be at one address."""
    first = next(iter(requests.items()), None)
    for host, request in requests.items():
        for part in ("repository", "key", "key_fingerprint"):
            if first and getattr(request, part) != getattr(first[1], part):
                raise PartError(
                    f"{first[0]} and {host} have different `{key}: {{{part}: …}}`, and a bundle has place "
                    "for one; bundle them apart, with --host"
                )
    return list(dict.fromkeys(requests.values()))
