"""Models that are not in the table: from a GGUF file, or from a running server's /api/show.

Imports this package only. Both give the same `Model` as a row of the table, so estimates and plans
do not know the difference.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ollama_fleet.catalogue.ggml import GgufError, tensor_bytes
from ollama_fleet.catalogue.gguf_header import (
    MOST_KEPT,
    MOST_TENSORS,
    Counted,
    Header,
    Tensor,
    Value,
    read_header,
)
from ollama_fleet.catalogue.metadata import model_from
from ollama_fleet.catalogue.model import Model

# A projector that is a file of its own is F16; /api/show tells its parameters only.
PROJECTOR_BYTES_PER_PARAMETER = 2


def read_gguf(path: Path, tag: str | None = None) -> Model:
    """The model of a GGUF file, read from its header; GgufError if that is damaged.

    + path: the file; only its header is read, however large it is
    + tag: the name to give it; default: the file's own
    """
    header = read_header(path)
    _refuse_parts(header)
    return model_from(
        tag or path.stem,
        header.keys,
        header.tensors,
        file_bytes=header.file_bytes,
        quantisation=_file_type(header.keys),
    )


def from_api_show(tag: str, answer: Mapping[str, Any]) -> Model:
    """The model of an answer of `POST /api/show` (`{"model": TAG, "verbose": true}`).

    GgufError if the answer lacks the metadata or the list of tensors.
    """
    info, listed = answer.get("model_info"), answer.get("tensors")
    if not isinstance(info, Mapping) or not info:
        raise GgufError(f"the answer for {tag} has no model_info")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_TENSORS:
        raise GgufError(f"the answer for {tag} has no list of tensors; ask with verbose: true")
    values = {str(key): value for key, raw in info.items() if (value := _value(raw)) is not None}
    tensors = [_tensor(one) for one in listed]
    projector = _projector_bytes(answer)
    return model_from(
        tag,
        values,
        tensors,
        file_bytes=sum(tensor.size_bytes for tensor in tensors) + projector,
        quantisation=_level(answer),
        projector_bytes=projector,
    )


def _refuse_parts(header: Header) -> None:
    count = header.keys.get("split.count", 1)
    if isinstance(count, int) and count > 1:
        raise GgufError(f"one of {count} parts of a model: join them with llama-gguf-split first")


def _file_type(keys: Mapping[str, Value]) -> str:
    """`general.file_type` 15 → Q4_K_M; unknown ones stay a number."""
    from gguf.constants import LlamaFileType

    number = keys.get("general.file_type")
    if not isinstance(number, int):
        return "unknown"
    try:
        return str(LlamaFileType(number).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return f"type {number}"


def _value(raw: Any) -> Value | None:
    """A JSON value as the header's reader would give it; null (a list left out) is None."""
    if isinstance(raw, int | float | str):
        return raw
    if not isinstance(raw, list):
        return None
    numbers = all(isinstance(one, int | float) for one in raw)
    return tuple(raw) if numbers and len(raw) <= MOST_KEPT else Counted(len(raw))


def _tensor(one: Any) -> Tensor:
    try:
        name, kind = str(one["name"]), str(one["type"])
        shape = tuple(int(size) for size in one["shape"])
    except (KeyError, TypeError, ValueError):
        raise GgufError(f"a tensor of the answer cannot be read: {str(one)[:80]}") from None
    return Tensor(name, shape, tensor_bytes(name, shape, kind))


def _projector_bytes(answer: Mapping[str, Any]) -> int:
    info = answer.get("projector_info")
    count = info.get("general.parameter_count", 0) if isinstance(info, Mapping) else 0
    return int(count) * PROJECTOR_BYTES_PER_PARAMETER if isinstance(count, int) else 0


def _level(answer: Mapping[str, Any]) -> str:
    details = answer.get("details")
    level = details.get("quantization_level") if isinstance(details, Mapping) else None
    return str(level or "unknown")
