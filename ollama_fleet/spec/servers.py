"""What a server is told: slices, wishes and the values that both share, as a person writes them.

Part of `spec`, which says the rest; imports only the rules.
"""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from ollama_fleet.spec.rules import rule_broken, slice_rules, wish_rules
from ollama_fleet.spec.warm_rules import preload_rule

MADE_NAME = 26  # leaves room for -2, -3, … of further replicas on one host

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]


def _plain_path(name: str) -> str:
    if any(part.strip(".") == "" for part in name.split("/")):
        raise rule_broken((), f"{name} is no model's name: a part of it is empty or only dots")
    return name


Model = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", max_length=200),
    AfterValidator(_plain_path),
]
Index = Annotated[StrictInt, Field(ge=0, le=255)]

# What a server is told; slices and wishes say it alike.
Context = Annotated[
    int,
    Field(ge=256, le=10_485_760, description="Context length in tokens, per parallel request."),
]
Parallel = Annotated[
    int,
    Field(ge=1, le=256, description="Requests served at the same time by one loaded model."),
]
Duration = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?(ms|s|m|h)?$")]
KeepAlive = Annotated[
    Duration | int,
    Field(description="How long a model stays loaded: -1 for ever, or seconds, or like 30m."),
]
Preload = Annotated[
    StrictBool | list[Model],
    Field(
        description="Which models it loads by itself after every start, and keeps for keep_alive: true: "
        "all that it holds at once; false: none; or a list of them. None where keep_alive is 0."
    ),
]
Default = Annotated[
    StrictBool,
    Field(
        description="`ollama` on the host means this slice unless told otherwise; one per host. "
        "Without one: the host's first slice."
    ),
]
KvCache = Annotated[
    Literal["f16", "q8_0", "q4_0"],
    Field(description="Element type of the KV cache; q8_0 halves it, q4_0 quarters it."),
]
FlashAttention = Annotated[
    bool | None, Field(description="Force it on or off; default: on where the GPU can.")
]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Env = Annotated[
    dict[Variable, str | int | bool],
    Field(description="Further environment variables of this server."),
]
EnvFile = Annotated[
    Annotated[str, Field(pattern=r"^/[^\s]+$")] | None,
    Field(description="File on the host with further variables: the place for secrets."),
]


class Spec(BaseModel):
    """Base of everything in an inventory: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceSpec(Spec):
    """One Ollama server with GPUs of its own."""

    name: Name = Field(description="Unique on the host; the unit is ollama-<name>.service.")
    gpus: Annotated[list[StrictInt | StrictStr], Field(min_length=1)] = Field(
        description="Its GPUs: index in PCI order, UUID (GPU-…) or PCI address (0000:17:00.0)."
    )
    port: Port | None = Field(
        None,
        description="Loopback port; default: 11434 + the index of its first GPU, or the next free.",
    )
    models: list[Model] = Field(default=[], description="Models that it serves.")
    context: Context = 4096
    parallel: Parallel = 1
    keep_alive: KeepAlive = -1
    preload: Preload = True
    kv_cache: KvCache = "f16"
    flash_attention: FlashAttention = None
    env: Env = {}
    env_file: EnvFile = None
    default: Default = False
    allow_overcommit: bool = Field(
        False,
        description="Deploy it even where the arithmetic says that its models do not fit; "
        "the plan then says so instead of refusing.",
    )

    @model_validator(mode="after")
    def _rules(self) -> "SliceSpec":
        slice_rules(self)
        preload_rule(self, self.models)
        return self


class WishSpec(Spec):
    """Something to serve; the planner chooses hosts and GPUs, and makes slices of it."""

    name: Name | None = Field(
        None, description="Its slices are named after it; default: made of the first model."
    )
    model: Model | None = Field(None, description="The model that it serves.")
    models: list[Model] = Field(
        default=[], description="Several models on one slice, all loaded at the same time."
    )
    replicas: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="How many slices like this; on different hosts where there are enough."
    )
    hosts: list[str] = Field(
        default=[], description="Only on these hosts: names or patterns such as gpu0*."
    )
    gpu: str | None = Field(None, description="Only on GPUs of this model, such as RTX 3090.")
    gpus: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="GPUs for each replica; default: the fewest that hold its models."
    )
    mig: bool | str = Field(
        True,
        description="true: an instance where one is offered and holds it; false: whole GPUs only; "
        "or a profile such as 3g.20gb: nothing but that.",
    )
    pool: Name | None = Field(
        None,
        description="Wishes of the same pool share GPUs: each slice of the pool serves several of "
        "them. All need the same settings.",
    )
    context: Context = 4096
    parallel: Parallel = 1
    keep_alive: KeepAlive = -1
    preload: Preload = True
    kv_cache: KvCache = "f16"
    flash_attention: FlashAttention = None
    env: Env = {}
    env_file: EnvFile = None
    default: Default = False

    @model_validator(mode="after")
    def _rules(self) -> "WishSpec":
        wish_rules(self)
        preload_rule(self, self.all_models)
        return self

    @property
    def all_models(self) -> tuple[str, ...]:
        """What it serves, in the order of the file."""
        return (self.model, *self.models) if self.model else tuple(self.models)

    @property
    def title(self) -> str:
        """Its name, or one made of its first model: qwen3:8b → qwen3-8b."""
        if self.name:
            return self.name
        plain = re.sub(r"[^a-z0-9]+", "-", self.all_models[0].rpartition("/")[2].lower())
        return plain.strip("-")[:MADE_NAME].strip("-")


class MigSpec(Spec):
    """GPUs that are cut into MIG instances, each of which holds one slice."""

    gpus: Annotated[list[Index], Field(min_length=1)] = Field(
        description="Indexes of the GPUs, in PCI order."
    )
    profiles: Literal["auto"] | Annotated[list[str], Field(min_length=1)] = Field(
        "auto",
        description="Instances of each of them, such as [3g.20gb, 3g.20gb]; "
        "auto: chosen from the wishes.",
    )


ServerSpec = SliceSpec | WishSpec
