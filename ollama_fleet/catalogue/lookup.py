"""Finds models by tag and GPUs by name, and answers with the nearest real ones otherwise.

Imports only this package. A tag that the library does not have is an error even where the guides
name it, because a pull of it fails; the error says what exists instead.
"""

import difflib
import re

from ollama_fleet.catalogue import tables
from ollama_fleet.catalogue.gpu import Gpu
from ollama_fleet.catalogue.model import Model

HOSTS = ("registry.ollama.ai/", "ollama.com/")
SHOWN = 5


class UnknownName(LookupError):  # noqa: N818  (reads as what it is: an answer)
    """No such model or GPU. `name` is what was asked for, `nearest` what exists, best first."""

    def __init__(self, what: str, name: str, nearest: tuple[str, ...], why: str = "") -> None:
        self.name, self.nearest = name, nearest
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        super().__init__(f"{why or f'no {what} is named {name!r}'}{hint}")

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownModel(UnknownName):
    """No model of that tag in the catalogue."""


class UnknownGpu(UnknownName):
    """No GPU of that name in the catalogue, or several of different memory."""


def all_models() -> tuple[Model, ...]:
    """Every model that exists, in the order of the table."""
    return tuple(tables.model(tag) for tag, row in tables.model_rows().items() if _exists(row))


def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU, in the order of the table."""
    return tuple(tables.gpu(name) for name in tables.gpu_rows())


def find_model(tag: str) -> Model:
    """The model of a tag or of an alias; raises UnknownModel with the nearest tags.

    Case, the public registry's host and `library/` do not matter.
    """
    asked = _plain(tag)
    asked = tables.model_aliases().get(asked, asked)
    row = tables.model_rows().get(asked)
    if row and _exists(row):
        return tables.model(asked)
    if row:
        why = f"the library has no {tag}"
        raise UnknownModel("model", tag, (row["nearest"],), why)
    raise UnknownModel("model", tag, nearest_models(asked))


def nearest_models(tag: str) -> tuple[str, ...]:
    """Existing tags nearest to one: the same family by size, else the families spelt most alike."""
    family, size = _parts(tag)
    known = [name for name, row in tables.model_rows().items() if _exists(row)]
    families = list(dict.fromkeys(_parts(name)[0] for name in known))
    alike = difflib.get_close_matches(family, families, n=2, cutoff=0.6)
    best = [family] if family in families else alike
    chosen = [name for name in known if _parts(name)[0] in best]
    return tuple(sorted(chosen, key=lambda name: _distance(tables.model(name), size))[:SHOWN])


def find_gpu(name: str) -> Gpu:
    """The GPU whose name holds all words of `name`; raises UnknownGpu with the nearest names.

    `RTX 3090`, `3090`, `A100 40GB` and nvidia-smi's own spelling all work. A size such as 12GB that
    the name lacks is compared with the memory. Of several equally near cards with the same memory
    the slowest is taken, so that no estimate promises too much.
    """
    if name in tables.gpu_rows():
        return tables.gpu(name)
    found = [gpu for gpu in all_gpus() if _matches(gpu, name)]
    fewest = min((len(_words(gpu.name)) for gpu in found), default=0)
    near = [gpu for gpu in found if len(_words(gpu.name)) == fewest]
    if not near:
        raise UnknownGpu("GPU", name, nearest_gpus(name))
    if max(gpu.vram_mib for gpu in near) > 1.05 * min(gpu.vram_mib for gpu in near):
        names = tuple(gpu.name for gpu in found)
        raise UnknownGpu("GPU", name, names, f"several GPUs are named {name!r}: say which")
    return min(near, key=lambda gpu: gpu.bandwidth_gb_s)


def nearest_gpus(name: str) -> tuple[str, ...]:
    """Names of existing GPUs spelt most alike."""
    short = {_short(full): full for full in _gpu_names()}
    asked = _short(name)
    ranked = sorted(short, key=lambda key: -difflib.SequenceMatcher(None, asked, key).ratio())
    return tuple(short[key] for key in ranked[:SHOWN])


def _short(name: str) -> str:
    """A GPU's name without its makers, in its own order of words."""
    return " ".join(word for word in _split(name) if word not in ("nvidia", "geforce", "tesla"))


def _gpu_names() -> list[str]:
    return list(tables.gpu_rows())


def _exists(row: dict[str, str]) -> bool:
    return "nearest" not in row


def _plain(tag: str) -> str:
    for host in HOSTS:
        tag = tag.removeprefix(host)
    tag = tag.removeprefix("library/")
    known = tables.model_rows().keys() | tables.model_aliases().keys()
    return tag if tag in known else {name.lower(): name for name in known}.get(tag.lower(), tag)


def _parts(tag: str) -> tuple[str, float]:
    """`qwen3:8b-q4_K_M` → family `qwen3` and 8.0 thousand million parameters (0 where unsaid)."""
    family, _, variant = tag.lower().partition(":")
    size = re.match(r"e?(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])", variant)
    if not size:
        return family, 0.0
    billions = float(size[2]) * int(size[1] or 1)
    return family, billions / 1000 if size[3] == "m" else billions


def _distance(model: Model, size: float) -> tuple[float, str]:
    """How far a model's size is from the one asked for; by size alone where none was."""
    if not size:
        return model.params_b, model.tag
    ratio = max(model.params_b, 0.01) / size
    return max(ratio, 1 / ratio), model.tag


def _words(name: str) -> frozenset[str]:
    return frozenset(_split(name))


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(\d)(ti|super)\b", r"\1 \2", name.lower())
    return re.split(r"[\s_-]+", spaced.strip())


def _matches(gpu: Gpu, name: str) -> bool:
    missing = _words(name) - _words(gpu.name)
    sizes = [re.fullmatch(r"(\d+)g(?:b|ib)?", word) for word in missing]
    return all(size and abs(gpu.vram_mib / 1024 - int(size[1])) < 2.5 for size in sizes)
