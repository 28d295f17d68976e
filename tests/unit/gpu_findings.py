"""What the checks of a GPU's health find, taken together: for tests that ask for all of them at once."""

from collections.abc import Mapping, Sequence

from ollama_fleet.checks.gpu_values import Seen
from ollama_fleet.checks.health import ASPECTS
from ollama_fleet.hardware.found import Gpu


def trouble(gpu: Gpu, values: Mapping[str, str], xids: Sequence[int] = ()) -> dict[str, str]:
    """Check to what has to be mended."""
    return _said(gpu, values, xids, "trouble")


def advice(gpu: Gpu, values: Mapping[str, str], xids: Sequence[int] = ()) -> dict[str, str]:
    """Check to what is worth knowing."""
    return _said(gpu, values, xids, "advice")


def judged(gpu: Gpu, values: Mapping[str, str]) -> set[str]:
    """Checks that could say something, well or not."""
    return {aspect.check for aspect in ASPECTS if aspect.look(Seen(gpu, values))}


def _said(gpu: Gpu, values: Mapping[str, str], xids: Sequence[int], kind: str) -> dict[str, str]:
    found = {aspect.check: aspect.look(Seen(gpu, values, xids)) for aspect in ASPECTS}
    said = {check: "; ".join(getattr(one, kind)) for check, one in found.items() if one}
    return {check: words for check, words in said.items() if words}
