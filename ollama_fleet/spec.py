"""What a person writes about a fleet: the pydantic models of the inventory YAML.

Every key has its description here, once: validation, the JSON Schema and the reference page are
made from these classes. Imports no planner, no pyinfra; touches no host.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from ollama_fleet.spec_rules import host_rules, slice_rules

# llama-server's discovery child picks ports from here up without asking whether they are free
# (Ollama, discover/llama_server.go), so a slice there may lose its port at any start.
FIRST_RESERVED_PORT = 49152
FIRST_SLICE_PORT = 11434

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Model = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", max_length=200)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s'\"]+$")]


class Spec(BaseModel):
    """Base of everything in an inventory: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SshSpec(Spec):
    """How a host is reached."""

    user: str | None = Field(None, description="Login name; default: what ssh itself would use.")
    port: Port | None = Field(None, description="SSH port; default 22.")
    key: str | None = Field(
        None, description="Private key file, relative to this inventory; default: agent and ~/.ssh."
    )
    known_hosts: str | None = Field(
        None, description="File of known host keys, relative to this inventory."
    )
    sudo: bool | None = Field(
        None, description="Become root with passwordless sudo after logging in as another user."
    )


class OllamaSpec(Spec):
    """Which Ollama is installed, and where it and the models come from. Defaults: group_data."""

    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = Field(
        None, description="Release to install, such as 0.32.15; never 'latest'."
    )
    sha256: dict[Literal["amd64", "arm64"], Sha256] | None = Field(
        None, description="Checksum of the release archive per architecture."
    )
    sha256_file: str | None = Field(
        None,
        description="A release's sha256sum.txt on this machine, used instead of `sha256`; "
        "relative to this inventory.",
    )
    release_url: Url | None = Field(
        None,
        description="Where releases lie as v<version>/ollama-linux-<arch>.tar.zst: "
        "GitHub's address or a mirror's.",
    )
    registry: Url | None = Field(
        None, description="Model registry to pull from instead of the public one."
    )


class GpuSpec(Spec):
    """GPUs of one kind that a host is expected to have; preflight compares."""

    model: str = Field(description="Name as nvidia-smi prints it, or its end ('RTX 3090').")
    count: Annotated[int, Field(ge=1, le=64)] = Field(1, description="How many of them.")


class SliceSpec(Spec):
    """One Ollama server with GPUs of its own."""

    name: Name = Field(description="Unique on the host; the unit is ollama-<name>.service.")
    gpus: Annotated[list[StrictInt | StrictStr], Field(min_length=1)] = Field(
        description="Its GPUs: index in PCI order, UUID (GPU-…) or PCI address (0000:17:00.0)."
    )
    port: Port | None = Field(
        None, description="Loopback port; default: the first free one from 11434 upwards."
    )
    models: list[Model] = Field(default=[], description="Models that it serves.")
    context: Annotated[int, Field(ge=256, le=10_485_760)] = Field(
        4096, description="Context length in tokens, per parallel request."
    )
    parallel: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Requests served at the same time by one loaded model."
    )
    keep_alive: Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?(ms|s|m|h)?$")] | int = Field(
        -1, description="How long a model stays loaded: -1 for ever, or seconds, or like 30m."
    )
    kv_cache: Literal["f16", "q8_0", "q4_0"] = Field(
        "f16", description="Element type of the KV cache; q8_0 halves it, q4_0 quarters it."
    )
    flash_attention: bool | None = Field(
        None, description="Force it on or off; default: on where the GPU can."
    )
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str | int | bool] = Field(
        default={}, description="Further environment variables of this server."
    )
    env_file: Annotated[str, Field(pattern=r"^/[^\s]+$")] | None = Field(
        None, description="File on the host with further variables: the place for secrets."
    )

    @model_validator(mode="after")
    def _rules(self) -> "SliceSpec":
        slice_rules(self)
        return self


class ModelsSpec(Spec):
    """Models of a host beside those that its slices name."""

    extra: list[Model] = Field(default=[], description="Also keep these in the host's store.")


class HostSpec(Spec):
    """One host: how to reach it, what it has, what it serves."""

    address: str | None = Field(None, description="Name or address; default: the host's own key.")
    connection: Literal["ssh", "local"] = Field(
        "ssh", description="'local' deploys to the machine that pyinfra runs on."
    )
    ssh: SshSpec = Field(default=SshSpec(), description="How it is reached; over the fleet's ssh.")
    gpus: list[GpuSpec] | None = Field(
        None, description="The GPUs it should have, in PCI order; default: whatever is found."
    )
    slices: list[SliceSpec] = Field(default=[], description="Its Ollama servers.")
    models: ModelsSpec = Field(default=ModelsSpec(), description="Further models.")
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="Differs from the fleet's here.")

    @model_validator(mode="after")
    def _rules(self) -> "HostSpec":
        host_rules(self)
        return self


class Fleet(Spec):
    """A whole inventory file."""

    version: Literal[1] = Field(description="Version of this file's format.")
    ssh: SshSpec = Field(default=SshSpec(), description="Defaults for every host.")
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="Ollama on every host.")
    hosts: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], HostSpec],
        Field(min_length=1),
    ] = Field(description="Every host by its name.")


def fleet_schema() -> dict[str, Any]:
    """JSON Schema of an inventory file, for editors that complete and check YAML."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Fleet.model_json_schema(),
        "title": "Ollama Fleet inventory",
    }
