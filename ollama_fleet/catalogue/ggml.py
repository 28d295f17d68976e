"""Sizes of ggml tensors, by the constants of the `gguf` package; imports none of ours.

The package is imported when a size is asked for: it brings numpy, which a look-up does not need.
"""

from collections.abc import Callable
from functools import partial
from math import prod

MOST_TENSOR_ELEMENTS = 2**42


class GgufError(ValueError):
    """A file is no GGUF that can be used; says what is wrong and where."""


def tensor_bytes(name: str, shape: tuple[int, ...], kind: int | str) -> int:
    """Bytes of a tensor of a ggml type, by number or by name; GgufError if there is no such."""
    block, width = _block(name, kind)
    elements = prod(shape)
    if not shape or min(shape) < 1 or elements > MOST_TENSOR_ELEMENTS:
        raise GgufError(f"tensor {shown(name)} has an impossible shape {shape}")
    if shape[0] % block:
        raise GgufError(f"rows of tensor {shown(name)} are no multiple of {block}: {shape}")
    return elements // block * width


def _block(name: str, kind: int | str) -> tuple[int, int]:
    """Elements and bytes of one block of a ggml type."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    find: Callable[[], GGMLQuantizationType] = (
        partial(GGMLQuantizationType, kind)
        if isinstance(kind, int)
        else partial(GGMLQuantizationType.__getitem__, kind.upper())
    )
    try:
        block, width = GGML_QUANT_SIZES[find()]
    except (KeyError, ValueError):
        raise GgufError(f"tensor {shown(name)} has an unknown type {kind}") from None
    return int(block), int(width)


def shown(name: str) -> str:
    """A name from a file, quoted and short enough for a message."""
    return repr(name if len(name) <= 60 else name[:57] + "…")
