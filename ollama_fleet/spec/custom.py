"""Models of a person's own: a GGUF file, or another model, with what a Modelfile would say of it.

Part of `spec`, which says the rest; what such a model may be called is `spec_custom_rules`' matter.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Model, Spec

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HostPath = Annotated[str, Field(pattern=r"^(/[^\s/'\"\\]+)+$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
URL_STARTS = ("http://", "https://")

# What /api/create would take, but must not have here.
NOT_HERE = {
    "num_gpu": "all layers lie on the slice's GPUs, as planned; drop it",
    "main_gpu": "the slice's `gpus:` say where it runs; drop it",
    "typical_p": "newer Ollama refuses it as a model's parameter; drop it, requests may give it",
}


class ParametersSpec(Spec):
    """Parameters of a Modelfile: what requests get that say nothing else."""

    num_ctx: Annotated[StrictInt, Field(ge=256, le=10_485_760)] | None = Field(
        None,
        description="Context in tokens; equal to the `context:` of every slice that serves it.",
    )
    num_batch: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = Field(
        None, description="Tokens that are read at once; more take more memory, which is planned."
    )
    num_keep: Annotated[StrictInt, Field(ge=-1)] | None = Field(
        None, description="Tokens of the prompt that stay when the context is full; -1: all."
    )
    num_predict: Annotated[StrictInt, Field(ge=-2)] | None = Field(
        None, description="Most tokens of an answer; -1: no limit."
    )
    num_thread: Annotated[StrictInt, Field(ge=1, le=1024)] | None = Field(
        None, description="CPU threads."
    )
    draft_num_predict: Annotated[StrictInt, Field(ge=0)] | None = Field(
        None, description="Tokens that are drafted ahead, where the model can; 0: none."
    )
    use_mmap: StrictBool | None = Field(None, description="Map the file, or read it.")
    seed: StrictInt | None = Field(None, description="The same seed and prompt: the same answer.")
    temperature: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="Higher is more varied; 0 takes the likeliest token always."
    )
    top_k: Annotated[StrictInt, Field(ge=0)] | None = Field(
        None, description="Only the so many likeliest tokens."
    )
    top_p: Share | None = Field(None, description="Only the likeliest, up to this sum of chances.")
    min_p: Share | None = Field(None, description="Only those at least this likely, to the best.")
    repeat_last_n: Annotated[StrictInt, Field(ge=-1)] | None = Field(
        None, description="Tokens back in which repetition counts; 0: off, -1: num_ctx."
    )
    repeat_penalty: Number | None = Field(None, description="Against repetition; 1.0: off.")
    presence_penalty: Number | None = Field(None, description="Against what was said at all.")
    frequency_penalty: Number | None = Field(None, description="Against what was said often.")
    stop: Annotated[list[StrictStr], Field(min_length=1)] | None = Field(
        None, description="Texts at which an answer ends."
    )

    @model_validator(mode="before")
    @classmethod
    def _planned(cls, given: Any) -> Any:
        for name, why in NOT_HERE.items():
            if isinstance(given, Mapping) and name in given:
                raise rule_broken((name,), f"cannot be set here: {why}")
        return given


class MessageSpec(Spec):
    """One message of a conversation that comes before every other."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it.")
    content: Annotated[str, Field(min_length=1)] = Field(description="What is said.")


class HostFileSpec(Spec):
    """A file that lies on the hosts already; it is copied into the store."""

    host: HostPath = Field(description="Its path on the host.")
    sha256: Hex | None = Field(
        None, description="Its checksum; default: whatever it is, and made anew when it changes."
    )


def _kind(given: Any) -> str:
    return "file" if isinstance(given, Mapping | HostFileSpec) else "text"


Gguf = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)] | Annotated[HostFileSpec, Tag("file")],
    Discriminator(_kind),
]


class CustomModelSpec(Spec):
    """A model that Ollama makes on the hosts that serve it."""

    gguf: Gguf | None = Field(
        None,
        description="Its weights: a file on this machine, relative to this inventory; an address, "
        "from which the hosts fetch it; or `{host: PATH}`, a file on the hosts.",
    )
    sha256: Hex | None = Field(None, description="Checksum of the file; required for an address.")
    from_: Model | None = Field(
        None,
        alias="from",
        description="Another model instead of a file: one of a registry, or of `custom_models`.",
    )
    parameters: ParametersSpec = Field(
        default=ParametersSpec(), description="What requests get that say nothing else."
    )
    system: str | None = Field(None, description="System prompt.")
    system_file: str | None = Field(
        None, description="The same from a file, relative to this inventory."
    )
    template: str | None = Field(
        None, description="Prompt template, in Go's syntax; default: what the file brings."
    )
    template_file: str | None = Field(
        None, description="The same from a file, relative to this inventory."
    )
    license: str | list[str] | None = Field(None, description="One licence or several.")
    messages: list[MessageSpec] = Field(
        default=[], description="A conversation that every request continues."
    )

    @model_validator(mode="after")
    def _rules(self) -> "CustomModelSpec":
        if (self.gguf is None) == (self.from_ is None):
            what = (
                "says both `gguf:` and `from:`" if self.gguf else "says neither `gguf:` nor `from:`"
            )
            raise rule_broken((), f"{what}; a model is made of one of them")
        if self.sha256 and self.from_:
            raise rule_broken(("sha256",), "is of a file, and `from:` names none; drop it")
        if self.sha256 and isinstance(self.gguf, HostFileSpec):
            raise rule_broken(
                ("sha256",), "belongs into `gguf: {host: …, sha256: …}`; move it there"
            )
        if self.url and not re.fullmatch(r"https?://[^\s/@]+/[^\s@]+", self.url):
            what = "is no address such as https://host/file.gguf; a login goes to /etc/ollama/netrc"
            raise rule_broken(("gguf",), what)
        if self.url and not self.sha256:
            what = "is missing; hosts fetch nothing that they cannot check (sha256sum FILE)"
            raise rule_broken(("sha256",), what)
        for text in ("system", "template"):
            if getattr(self, text) is not None and getattr(self, f"{text}_file") is not None:
                what = f"says the same as `{text}:`; keep one of them"
                raise rule_broken((f"{text}_file",), what)
        return self

    @property
    def url(self) -> str | None:
        """The address that hosts fetch its file from; None where it comes otherwise."""
        return (
            self.gguf if isinstance(self.gguf, str) and self.gguf.startswith(URL_STARTS) else None
        )

    @property
    def local_file(self) -> str | None:
        """Its file on this machine; None where it comes otherwise."""
        return self.gguf if isinstance(self.gguf, str) and self.url is None else None
