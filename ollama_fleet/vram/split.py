"""Which part of a model lies on which of several equal GPUs; pure arithmetic, imports none of ours.

llama.cpp counts the output as one layer more and gives layer i of L to GPU floor(i × n / (L + 1)),
so layers stay whole and the output is on the last GPU.
"""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class LayerRange:
    """Layers from `start` up to, not including, `end`, of `layers`."""

    start: int
    end: int
    layers: int
    last: bool

    def share(self, count: int) -> float:
        """Part of `count` evenly spread special layers (full attention, recurrent) that lie here."""
        if not count:
            return 0.0
        here = self.end * count // self.layers - self.start * count // self.layers
        return here / count

    def __str__(self) -> str:
        return f"{self.end - self.start} of {self.layers} layers"


def split_layers(layers: int, gpus: int) -> tuple[LayerRange, ...]:
    """Layers of each GPU. Source: llama-model.cpp, get_layer_buft with equal tensor_split."""
    bounds = [-(-gpu * (layers + 1) // gpus) for gpu in range(gpus + 1)]
    return tuple(
        LayerRange(min(start, layers), min(end, layers), layers, gpu == gpus - 1)
        for gpu, (start, end) in enumerate(pairwise(bounds))
    )
