"""What a host's model store is to hold and how it is filled. Frozen values, part of `HostPlan`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ollama_fleet.spec.known import full_model_name

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec

STATE_DIR = "/var/lib/ollama"
MODELS_DIR = f"{STATE_DIR}/models"
MIB = 2**20


@dataclass(frozen=True)
class LockedModel:
    """A model by its manifest: `digest` is the sha256 (hex) of the very bytes of `manifest`."""

    name: str
    digest: str
    manifest: str


@dataclass(frozen=True)
class StorePlan:
    """A host's model store: its folder, what must not be in it, and what a name means exactly.

    Models that are in no list stay, unless `keep_unlisted` is False. `scrub`: every blob is hashed
    once a week.
    """

    path: str = MODELS_DIR
    absent: tuple[str, ...] = ()
    keep_unlisted: bool = True
    scrub: bool = True
    locked: tuple[LockedModel, ...] = ()

    def lock_of(self, model: str) -> LockedModel | None:
        """What the lock file says of a model; None where it says nothing."""
        return next((locked for locked in self.locked if locked.name == model), None)


@dataclass(frozen=True)
class Downloads:
    """How a host downloads: models at the same time, and bytes per second over all of them."""

    parallel: int = 3
    rate_bytes_s: int | None = None


def store_of(fleet: "Fleet", spec: "HostSpec") -> StorePlan:
    """What an inventory says of one host's store: lists are added up, else the host's word counts."""
    levels = (spec.models, fleet.models)
    return StorePlan(
        path=next((level.path for level in levels if level.path), MODELS_DIR),
        absent=_names(model for level in levels for model in level.absent or ()),
        keep_unlisted=_first([level.keep_unlisted for level in levels], True),
        scrub=_first([level.scrub for level in levels], True),
    )


def extra_models(fleet: "Fleet", spec: "HostSpec") -> tuple[str, ...]:
    """Models that a host keeps though no slice serves them."""
    return _names(model for level in (spec.models, fleet.models) for model in level.extra or ())


def downloads_of(fleet: "Fleet", spec: "HostSpec") -> Downloads:
    """How one host downloads: its own word over the fleet's."""
    levels = (spec.downloads, fleet.downloads)
    rate = next((level.rate_mib_s for level in levels if level.rate_mib_s), None)
    return Downloads(
        parallel=next((level.parallel for level in levels if level.parallel), Downloads.parallel),
        rate_bytes_s=int(rate * MIB) if rate else None,
    )


def _first(said: Iterable[bool | None], otherwise: bool) -> bool:
    return next((value for value in said if value is not None), otherwise)


def _names(models: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(full_model_name, models)))
