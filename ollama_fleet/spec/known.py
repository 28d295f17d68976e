"""What an inventory may name: models and GPUs of its own before those of the catalogue.

Imports the catalogue; knows nothing of rules or errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from typing import TYPE_CHECKING

from ollama_fleet import catalogue

if TYPE_CHECKING:
    from ollama_fleet.spec.custom import CustomModelSpec
    from ollama_fleet.spec.fleet import Fleet, HostSpec
    from ollama_fleet.spec.servers import WishSpec

Place = tuple[str | int, ...]

_gpu = lru_cache(maxsize=None)(catalogue.find_gpu)
_model = lru_cache(maxsize=None)(catalogue.find_model)


@dataclass(frozen=True)
class Known:
    """Models and GPUs that an inventory may name: its own, then the catalogue's.

    `batches` are the models that say their `num_batch` themselves.
    """

    models: dict[str, catalogue.Model]
    gpus: dict[str, catalogue.Gpu]
    batches: Mapping[str, int] = field(default_factory=dict)

    def model(self, tag: str) -> catalogue.Model:
        """The model of a tag. Raises catalogue.UnknownModel, which names the nearest."""
        return self.models.get(full_model_name(tag)) or _model(tag)

    def batch(self, tag: str) -> int | None:
        """The `num_batch` that a model says itself."""
        return self.batches.get(full_model_name(tag))

    def gpu(self, name: str) -> catalogue.Gpu:
        """The GPU of a name. Raises catalogue.UnknownGpu, which names the nearest."""
        return self.gpus.get(short_gpu_name(name)) or _gpu(name)


def known_to(fleet: "Fleet") -> Known:
    """What `fleet` adds, over the catalogue."""
    own = fleet.catalogue
    names = [(name, model) for model in own.models for name in (model.tag, *model.aliases)]
    known = Known(
        {full_model_name(name): model for name, model in names},
        {short_gpu_name(gpu.name): gpu for gpu in own.gpus},
        dict(_batches(fleet)),
    )
    for name in fleet.custom_models:
        full = full_model_name(name)
        base = full if full in known.models else _root(fleet, name)
        with suppress(catalogue.UnknownModel):
            model = known.model(base)
            known.models[full] = model.model_copy(update={"tag": full, "aliases": ()})
    return known


def custom_of(fleet: "Fleet", name: str) -> "CustomModelSpec | None":
    """The custom model of that name; None where the name is somebody else's."""
    wanted = full_model_name(name)
    custom = fleet.custom_models.items()
    return next((spec for own, spec in custom if full_model_name(own) == wanted), None)


def num_ctx_of(fleet: "Fleet", name: str) -> tuple[str, int | None]:
    """The context that a custom model says itself, or has from what it is made from, and who says so."""
    for one in _chain(fleet, name):
        spec = custom_of(fleet, one)
        if spec and spec.parameters.num_ctx is not None:
            return one, spec.parameters.num_ctx
    return name, None


def _batches(fleet: "Fleet") -> Iterator[tuple[str, int]]:
    for name in fleet.custom_models:
        said = [
            spec.parameters.num_batch
            for one in _chain(fleet, name)
            if (spec := custom_of(fleet, one))
        ]
        batch = next((one for one in said if one is not None), None)
        if batch is not None:
            yield full_model_name(name), batch


def _root(fleet: "Fleet", name: str) -> str:
    """What a custom model's weights come from in the end."""
    return list(_chain(fleet, name))[-1]


def _chain(fleet: "Fleet", name: str) -> Iterator[str]:
    """A custom model, what it is made from, what that is made from, …; a circle ends."""
    seen: set[str] = set()
    while full_model_name(name) not in seen:
        yield name
        seen.add(full_model_name(name))
        spec = custom_of(fleet, name)
        name = (spec and spec.from_) or name


def full_model_name(model: str) -> str:
    """`qwen3` → `qwen3:latest`, as Ollama stores it."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def short_gpu_name(name: str) -> str:
    """`NVIDIA GeForce RTX 3090` → `rtx 3090`."""
    return name.lower().removeprefix("nvidia ").removeprefix("geforce ")


def is_gpu(card: catalogue.Gpu, wanted: str, known: Known) -> bool:
    """Whether a card is what `wanted` names: by its name, or by all words of it."""
    words = set(short_gpu_name(wanted).split())
    return words <= set(short_gpu_name(card.name).split()) or known.gpu(wanted) == card


def all_wishes(fleet: "Fleet") -> Iterator[tuple[Place, "WishSpec", list[str]]]:
    """Every wish with its place in the file and the hosts that it may go to."""
    every = list(fleet.hosts)
    for index, wish in enumerate(fleet.wishes):
        yield ("wishes", index), wish, _hosts_of(wish, every)
    for name, host in fleet.hosts.items():
        for index, wish in enumerate(host.wishes):
            yield ("hosts", name, "wishes", index), wish, [name]


def cards_of(host: "HostSpec", known: Known) -> list[catalogue.Gpu]:
    """The GPUs that a host says it has, in PCI order."""
    return [known.gpu(gpu.model) for gpu in host.gpus or () for _ in range(gpu.count)]


def spell(at: Place) -> str:
    """A place of a list in the file: `hosts.gpu01.slices[2]`."""
    return f"{'.'.join(map(str, at[:-1]))}[{at[-1]}]"


def _hosts_of(wish: "WishSpec", every: list[str]) -> list[str]:
    if not wish.hosts:
        return every
    return [name for name in every if any(fnmatch(name, one) for one in wish.hosts)]


def layout_error(card: catalogue.Gpu, names: Sequence[str]) -> str | None:
    """Why one card cannot hold these instances at the same time; None when it can."""
    chosen = [card.mig_profile(name) for name in names]
    for profile in chosen:
        if chosen.count(profile) > profile.max_instances:
            return f"{card.name} holds {profile.max_instances} × {profile.name} at most"
    compute = max(profile.compute_slices for profile in card.mig_profiles)
    memory = card.mig_profiles[0].memory_slices_total
    used = sum(p.compute_slices for p in chosen), sum(p.memory_slices for p in chosen)
    if used[0] <= compute and used[1] <= memory:
        return None
    return (
        f"{', '.join(names)} need {used[0]} compute and {used[1]} memory slices together; "
        f"{card.name} has {compute} and {memory}"
    )
