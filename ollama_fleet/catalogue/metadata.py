"""A model's dimensions from the key-value metadata and tensors of its file; imports this package.

Both a GGUF header and an answer of /api/show come here as keys and tensors.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from ollama_fleet.catalogue.ggml import GgufError
from ollama_fleet.catalogue.gguf_header import Counted, Tensor, Value
from ollama_fleet.catalogue.layers import Keys, caches, mla_width, recurrent
from ollama_fleet.catalogue.model import Model

PROJECTOR = ("v.", "mm.", "a.")
HOST = ("per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")
TABLE, OUTPUT = "token_embd.weight", "output.weight"


def model_from(
    tag: str,
    values: dict[str, Value],
    tensors: Sequence[Tensor],
    *,
    file_bytes: int,
    quantisation: str,
    projector_bytes: int = 0,
) -> Model:
    """The model that a file's metadata describes; GgufError if it cannot be one."""
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise GgufError("the metadata has no general.architecture")
    keys = Keys(architecture, values)
    try:
        return _model(tag, keys, tensors, file_bytes, quantisation, projector_bytes)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the model"
        raise GgufError(f"{where} of {tag} cannot be: {first['msg']}") from None


def _model(
    tag: str,
    keys: Keys,
    tensors: Sequence[Tensor],
    file_bytes: int,
    quantisation: str,
    projector_bytes: int,
) -> Model:
    layers = _bounded(keys.whole("block_count"), 2048, "block_count")
    experts = keys.whole("expert_count", 0)
    used = keys.whole("expert_used_count", 0)
    tied = not any(tensor.name == OUTPUT for tensor in tensors) and "bert" not in keys.architecture
    mla = mla_width(keys)
    full, local = (None, None) if mla else caches(keys, layers)
    embedder = "bert" in keys.architecture or f"{keys.architecture}.pooling_type" in keys.values
    elements = sum(tensor.elements for tensor in tensors)
    inside = sum(tensor.size_bytes for tensor in tensors if _in_projector(tensor))
    return Model(
        tag=tag,
        kind="embedding" if embedder else "text",
        architecture=keys.architecture,
        params_b=elements / 1e9,
        active_params_b=_active(tensors, experts, used) / 1e9,
        layers=layers,
        embedding=keys.whole("embedding_length"),
        heads=_bounded(max(1, keys.whole("attention.head_count")), 2**16, "head_count"),
        full=full,
        local=local,
        mla_width=mla,
        recurrent=recurrent(keys, layers),
        draft_tokens=4 if keys.whole("nextn_predict_layers", 0) else 0,
        active_ffn=_active_ffn(keys, used),
        vocab=_vocab(keys, tensors),
        tied=tied,
        max_context=keys.whole("context_length"),
        quantisation=quantisation,
        file_bytes=file_bytes,
        weight_bytes=_weight_bytes(tensors, tied),
        projector_bytes=projector_bytes or inside,
        experts=experts,
        experts_used=used,
        confidence="medium",
    )


def _bounded(value: int, most: int, name: str) -> int:
    if not 1 <= value <= most:
        raise GgufError(f"{name} is {value}; 1 to {most} are believed")
    return value


def _active_ffn(keys: Keys, used: int) -> int:
    """The widest feed-forward part in use: dense, or used and shared experts together."""
    dense, expert = (
        keys.whole("feed_forward_length", 0),
        keys.whole("expert_feed_forward_length", 0),
    )
    shared = keys.whole(
        "expert_shared_feed_forward_length", keys.whole("expert_shared_count", 0) * expert
    )
    mixture = used * (expert or dense) + shared if used else 0
    if keys.architecture == "gemma4":
        return dense + mixture
    return max(dense, mixture, 1)


def _vocab(keys: Keys, tensors: Sequence[Tensor]) -> int:
    table = next((tensor for tensor in tensors if tensor.name == TABLE), None)
    if table and len(table.shape) > 1:
        return max(table.shape)
    tokens = keys.values.get("tokenizer.ggml.tokens")
    return tokens.count if isinstance(tokens, Counted) else keys.whole("vocab_size")


def _in_projector(tensor: Tensor) -> bool:
    return tensor.name.startswith(PROJECTOR)


def _weight_bytes(tensors: Sequence[Tensor], tied: bool) -> int:
    """All tensors but the projector's and those that stay in host memory."""
    host = HOST if tied else (*HOST, TABLE)
    return sum(
        tensor.size_bytes
        for tensor in tensors
        if not _in_projector(tensor) and tensor.name not in host
    )


def _active(tensors: Sequence[Tensor], experts: int, used: int) -> float:
    """Parameters of one token's way: of the experts' tensors only the used part."""
    part = used / experts if experts else 1.0
    return sum(tensor.elements * (part if "_exps." in tensor.name else 1) for tensor in tensors)
