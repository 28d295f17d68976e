"""What is known about one model: dimensions, sizes and contexts, never a memory figure.

Values only, validated by pydantic and frozen; imports none of ours. How much memory a model takes
is computed elsewhere from these, because one file takes 3 GiB or 40 GiB by its context alone.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0, le=2**31)]
Positive = Annotated[int, Field(gt=0, le=2**31)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]

# Types of a KV cache and bytes per element. ggml's blocks of 32 elements: q8_0 has 32 bytes and a
# scale of 2, q4_0 16 bytes and a scale.
KvCache = Literal["f16", "q8_0", "q4_0"]
ELEMENT_BYTES: dict[KvCache, float] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}

# Ollama serves these one request at a time, whatever OLLAMA_NUM_PARALLEL says (server/sched.go).
ONE_REQUEST_AT_A_TIME = frozenset(
    {"mllama", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen3next"}
    | {"lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "nemotron_h_omni"}
)


class Fact(BaseModel):
    """Base of everything in the catalogue: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Cache(Fact):
    """Layers that keep a key and a value per token and KV head, all alike."""

    layers: Positive = Field(description="Layers that own such a cache.")
    kv_heads: Positive = Field(description="KV heads per layer; equal to the heads without GQA.")
    key_length: Positive = Field(description="Elements of one key; not always embedding / heads.")
    value_length: Positive = Field(description="Elements of one value.")
    window: Positive | None = Field(
        None, description="Tokens that a sliding-window layer looks back on; none: all of them."
    )

    @property
    def elements_per_cell(self) -> int:
        """Elements that one token takes over all these layers."""
        return self.layers * self.kv_heads * (self.key_length + self.value_length)


class Recurrent(Fact):
    """Layers that keep a state of constant size per sequence instead of a cache."""

    layers: Positive = Field(description="Recurrent layers.")
    bytes_per_sequence: Bytes = Field(description="State of one sequence over all of them, f32.")


class Model(Fact):
    """One model file as the library serves it (or as a user's own file holds it).

    `weight_bytes` is what a GPU holds when every layer is on it: the file less its metadata, less
    the token table where the output does not share it, less per-layer embeddings, less projector.
    """

    tag: str = Field(description="Name to pull, such as qwen3:8b.")
    aliases: tuple[str, ...] = Field((), description="Other tags of the same file.")
    manifest_id: str = Field("", description="First 12 digits of the manifest; tags move, it not.")
    kind: Literal["text", "embedding"] = Field("text", description="Generates, or embeds.")
    architecture: str = Field(description="general.architecture of the file.")
    params_b: float = Field(ge=0, description="Parameters, in thousand millions.")
    active_params_b: float = Field(ge=0, description="Parameters that one token passes through.")
    layers: Positive = Field(description="Blocks.")
    embedding: Positive = Field(description="Embedding length.")
    heads: Positive = Field(description="Attention heads.")
    full: Cache | None = Field(None, description="Layers that attend to the whole context.")
    local: Cache | None = Field(None, description="Layers with a sliding window.")
    mla_width: Count = Field(0, description="Elements of an absorbed MLA cache, 0 without one.")
    recurrent: Recurrent | None = Field(None, description="Recurrent layers of a hybrid.")
    draft_tokens: Count = Field(0, description="Tokens drafted ahead by a built-in MTP layer.")
    active_ffn: Positive = Field(description="FFN width in use: dense, or used experts together.")
    vocab: Positive = Field(description="Rows of the token table.")
    tied: bool = Field(description="The output shares the token table, which is then on the GPU.")
    max_context: Positive = Field(description="Tokens that the model was trained for.")
    quantisation: str = Field(description="Main type of the weights, such as Q4_K_M.")
    file_bytes: Bytes = Field(description="All layers of the manifest: what a pull downloads.")
    file_exact: bool = Field(True, description="False where the library page was rounded.")
    weight_bytes: Bytes = Field(description="Weights that lie on the GPU, without projector.")
    weight_source: Literal["file", "log", "guess"] = Field(
        "file", description="From the file's parts, from a load log, or guessed from parameters."
    )
    projector_bytes: Bytes = Field(0, description="Vision (or audio) part, loaded beside it.")
    experts: Count = Field(0, description="Experts per layer, 0 for a dense model.")
    experts_used: Count = Field(0, description="Experts that one token passes through.")
    tasks: frozenset[str] = Field(frozenset(), description="What it is good for.")
    tier: str = Field("", description="ultra-light, light, medium, heavy or super, by size.")
    confidence: Literal["high", "medium", "low"] = Field(
        "high", description="How sure the dimensions are."
    )

    @model_validator(mode="after")
    def _whole(self) -> "Model":
        owners = sum(cache.layers for cache in (self.full, self.local) if cache)
        if owners + (self.recurrent.layers if self.recurrent else 0) > self.layers:
            raise ValueError(f"{self.tag}: more layers with a cache than the {self.layers} it has")
        if self.weight_bytes > self.file_bytes * 1.02:
            raise ValueError(f"{self.tag}: more weights on the GPU than the file holds")
        return self

    @property
    def parallel_limit(self) -> int | None:
        """Requests at once that Ollama allows for this architecture; None: as many as asked."""
        return 1 if self.architecture in ONE_REQUEST_AT_A_TIME else None

    @property
    def mixture(self) -> bool:
        """A mixture of experts: one token reads only part of the weights."""
        return self.experts > 0
