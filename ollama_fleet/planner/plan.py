"""The values that the planner makes; frozen, and all that later rooms need to know of a host."""

from dataclasses import dataclass, field

from ollama_fleet.catalogue.release import asset, default_archive
from ollama_fleet.planner.custom import CustomModel
from ollama_fleet.planner.delivery import MODELS_DIR, STATE_DIR, Downloads, StorePlan
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.planner.gateway import HopPlan
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.provision import Provision
from ollama_fleet.planner.rollout import Rollout
from ollama_fleet.planner.watching import WatchPlan

__all__ = ["MODELS_DIR", "STATE_DIR"]

USER = "ollama"
PREFIX = "/opt/ollama"
HOME_DIR = f"{STATE_DIR}/home"
CUDA_CACHE_DIR = f"{STATE_DIR}/cuda-cache"
# What lies in the store: Ollama's two, and ours for what is on its way, what was found broken, and
# what custom models were made of.
STORE_FOLDERS = ("blobs", "manifests", "fetch", "quarantine", "custom")
TARGET = "ollama.target"
DEVICES_UNIT = "ollama-devices.service"
LOADER_UNIT = "ollama-loader.service"
SCRUB_TIMER = "ollama-scrub.timer"
# Of the units that load slices' models; no slice has a name that begins so.
WARM_UNITS = "ollama-warm-"


@dataclass(frozen=True)
class Release:
    """The Ollama release that a host runs, and where it and its models come from.

    `sha256` maps `amd64` and `arm64` to the checksum of the release archive. `registry` is None for
    the public one. `archive` is the archive's name, `delivery` who fetches it: `host` or `controller`;
    `keep_versions` how many other releases stay beside this one.
    """

    version: str
    sha256: dict[str, str]
    release_url: str
    registry: str | None
    archive: str = field(default_factory=default_archive)
    delivery: str = "host"
    keep_versions: int = 2

    @property
    def prefix(self) -> str:
        """Directory of this version on the host."""
        return f"{PREFIX}/{self.version}"

    @property
    def binary(self) -> str:
        """The program that this version's units run."""
        return f"{self.prefix}/bin/ollama"

    def url(self, arch: str) -> str:
        """Where the archive of an architecture lies."""
        return f"{self.release_url.rstrip('/')}/v{self.version}/{asset(self.archive, arch)}"


@dataclass(frozen=True)
class Preloaded:
    """A model that a slice loads by itself, and the context that it has then, in tokens.

    `longest` is what it was trained for, None where nobody knows; Ollama gives it no more.
    """

    model: str
    context: int
    longest: int | None = None


@dataclass(frozen=True)
class SlicePlan:
    """One planned server; `gpus` are selectors that `bind` resolves on the host.

    `wished` tells slices that the planner made from those that a person wrote; `overcommit` that
    the person deploys it although its models may not fit; `preload` are the models that it loads
    by itself; `default` that a person chose it for whoever names no slice.
    """

    name: str
    gpus: tuple[int | str, ...]
    port: int
    models: tuple[str, ...]
    environment: dict[str, str]
    env_file: str | None
    wished: bool = False
    overcommit: bool = False
    preload: tuple[Preloaded, ...] = ()
    default: bool = False

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"ollama-{self.name}.service"

    @property
    def warm_unit(self) -> str:
        """The systemd unit that loads its models."""
        return f"{WARM_UNITS}{self.name}.service"

    @property
    def url(self) -> str:
        """Where it answers, on the host itself."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Removal:
    """What goes from a host that is to be absent, beside all that a deploy put there."""

    models: bool = False


@dataclass(frozen=True)
class HostPlan:
    """Everything that one host will be; travels to pyinfra as one value of host data.

    `expected_gpus` are (name, count) pairs in PCI order, or None when the inventory names none.
    `verify_timeout_s` bounds the generation that proves a slice, its load included. `memory` is the
    arithmetic of every GPU and instance, empty where nobody knows the GPUs; `mig` the instances of
    each GPU that is cut, in the order in which they have to be made; `notes` what a person should
    know although nothing is refused; `provision` what is asked of the host below Ollama; `store` and
    `downloads` what its model store holds and how it is filled; `custom` those of its models that are
    made on it, each after what it is made from; `removal` that it is to be absent, which goes before
    all the rest; `hop` how gateways reach its slices, and `rollout` how changes go over the fleet, both None
    without any gateway; `firewall` who reaches its ports; `selfcheck_min` the minutes between two looks of
    the host at itself, 0 for none; `watch` how its slices are watched and repaired;
    `monitoring` what it shows, None for nothing; `is_monitor`: Prometheus runs on it, too.
    """

    host: str
    expected_gpus: tuple[tuple[str, int], ...] | None
    slices: tuple[SlicePlan, ...]
    extra_models: tuple[str, ...]
    loader_port: int
    release: Release | None = None
    verify_timeout_s: int = 600
    memory: tuple[GpuMemory, ...] = ()
    mig: tuple[tuple[int, tuple[str, ...]], ...] = ()
    reserved: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    provision: Provision = field(default_factory=Provision)
    store: StorePlan = field(default_factory=StorePlan)
    downloads: Downloads = field(default_factory=Downloads)
    removal: Removal | None = None
    custom: tuple[CustomModel, ...] = ()
    hop: HopPlan | None = None
    firewall: FirewallPlan = field(default_factory=FirewallPlan)
    rollout: Rollout | None = None
    selfcheck_min: int = 15
    watch: WatchPlan = field(default_factory=WatchPlan)
    monitoring: MonitoringPlan | None = None
    is_monitor: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that the host's store must hold, in a stable order."""
        named = [model for item in self.slices for model in item.models]
        return tuple(dict.fromkeys([*named, *self.extra_models]))

    @property
    def pulled(self) -> tuple[str, ...]:
        """Those of its models that come from a registry."""
        own = {model.name for model in self.custom}
        return tuple(model for model in self.models if model not in own)

    @property
    def directories(self) -> tuple[tuple[str, str, str], ...]:
        """Its own directories: path, mode, owner. That of the manifest, by which things are removed as
        root, is root's; the others are the service user's."""
        models = self.store.path
        return (
            (STATE_DIR, "0755", "root"),
            (HOME_DIR, "0700", USER),
            (CUDA_CACHE_DIR, "0700", USER),
            (models, "0755", USER),
            *((f"{models}/{name}", "0755", USER) for name in STORE_FOLDERS),
        )

    @property
    def notice_s(self) -> int:
        """After so long gateways have noticed that one of its slices is in or out of service; 0: there are
        none."""
        return self.rollout.notice_s if self.hop and self.rollout else 0

    @property
    def default_slice(self) -> SlicePlan | None:
        """The slice of whoever names none: the chosen one, else the first."""
        return next(iter((*(item for item in self.slices if item.default), *self.slices)), None)

    @property
    def ollama(self) -> Release:
        """The release; set from inventory and group data before any task runs."""
        if self.release is None:
            raise ValueError(f"{self.host} has no Ollama release yet")
        return self.release


@dataclass(frozen=True)
class MigSeat:
    """A MIG instance as the plan names it: the `nth` of a profile, by placement, on the GPU at a PCI
    address. Which UUID that is only the host can say, and only until instances are made again."""

    address: str
    profile: str
    nth: int


@dataclass(frozen=True)
class BoundSlice:
    """A slice with the very GPUs that it gets on this host: UUIDs and device nodes.

    A slice on a MIG instance has a `seat`; its UUID is there once the instance is made, and its
    server gets it at start, from the host. So its unit stays the same when the UUID does not.
    """

    plan: SlicePlan
    uuids: tuple[str, ...]
    devices: tuple[str, ...]
    seat: MigSeat | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The full environment of its server."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.uuids), **self.plan.environment}

    @property
    def unit_environment(self) -> dict[str, str]:
        """What of it stands in its unit."""
        return self.plan.environment if self.seat else self.environment

    @property
    def place(self) -> str:
        """What it runs on, for people; the same before and after instances are made."""
        if self.seat:
            return f"{self.seat.address}, MIG {self.seat.profile} {self.seat.nth}"
        return ", ".join(self.uuids)
