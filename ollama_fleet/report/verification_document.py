"""What the JSON of a verification looks like: the models behind its schema, one description per key.

Keys are added, never renamed: `version` rises when a reader of an older one would go wrong.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ollama_fleet.checks.model import Status
from ollama_fleet.checks.outcome import Mode, Role

VERSION: Literal[1] = 1
Mib = Annotated[int | None, Field(description="MiB; null where nobody could tell.")]


class Part(BaseModel):
    """A part of the document; keys of later versions are read over."""

    model_config = ConfigDict(from_attributes=True, extra="ignore", frozen=True)


class ResultPart(Part):
    """What one check found."""

    host: str = Field(description="Machine, as the inventory names it.")
    subject: str = Field(
        description="`host`, `gpu <PCI address>`, a slice's name, `gateway <name>`, …"
    )
    check: str = Field(description="The check's name, see docs/verify.md.")
    status: Status = Field(description="`failed` has to be mended, `warning` wants to be known.")
    severity: Literal["critical", "major", "minor"] = Field(
        "major", description="What a failure of this check means."
    )
    step: str = Field("", description="The step of a deploy that it proves.")
    expected: str = Field(description="What is well.")
    found: str = Field(description="What there was.")
    remedy: str = Field("", description="What to do; empty when all is well.")
    alike: tuple[tuple[str, str], ...] = Field(
        (), description="Pairs of a thing that hosts should have alike, and its value here."
    )


class InstancePart(Part):
    """A MIG instance."""

    profile: str = Field(description="Its profile: `3g.20gb`.")
    memory_mib: Mib = None
    used_mib: Mib = None
    slice: str = Field("", description="The slice that has it, or empty.")


class GpuPart(Part):
    """A GPU."""

    index: int = Field(description="Its number in nvidia-smi; -1 where it is on the PCI bus only.")
    uuid: str = Field(description="The driver's name for it.")
    address: str = Field(description="PCI address.")
    name: str = Field(description="The card.")
    memory_mib: int = Field(description="All of its memory in MiB.")
    used_mib: Mib = None
    planned_mib: Mib = None
    temperature_c: int | None = Field(None, description="Degrees Celsius.")
    lost: bool = Field(False, description="The driver cannot use it any more.")
    instances: tuple[InstancePart, ...] = Field((), description="MIG instances by their places.")


class SlicePart(Part):
    """A slice."""

    name: str = Field(description="Its name.")
    gpus: tuple[int, ...] = Field(description="`index` of its GPUs.")
    port: int = Field(description="Where it listens on its host's loopback.")
    models: tuple[str, ...] = Field(description="Models that it serves.")
    instance: str = Field("", description="Profile of its MIG instance, or empty.")
    planned_mib: Mib = None
    held_mib: Mib = None
    tokens_per_s: float | None = Field(None, description="Of the generation that proved it.")
    drained: bool = Field(False, description="An operator has taken it out of service.")


class HostPart(Part):
    """One machine."""

    host: str = Field(description="Its name in the inventory.")
    roles: tuple[Role, ...] = Field(description="What it is in the fleet.")
    results: tuple[ResultPart, ...] = Field((), description="What its checks found.")
    error: str = Field("", description="Why it could not be asked, or empty.")
    gpus: tuple[GpuPart, ...] = Field((), description="GPUs in the order of their PCI addresses.")
    slices: tuple[SlicePart, ...] = Field((), description="Slices in the order of the plan.")
    address: str = Field("", description="Where it was reached.")
    driver: str = Field("", description="Version of the NVIDIA driver that is loaded.")
    ollama: str = Field("", description="Version of Ollama that is planned.")


class Summary(Part):
    """Counts over all machines."""

    hosts: int = Field(description="Machines in this run.")
    hosts_failed: int = Field(description="Of these: with a failed check.")
    unreachable: int = Field(description="Of these: could not be asked.")
    checks: int = Field(description="Results.")
    ok: int = Field(description="Of these: well.")
    warnings: int = Field(description="Of these: worth a look.")
    failed: int = Field(description="Of these: to be mended.")


class VerificationDocument(Part):
    """One verification of a fleet, as `fleet verify --json` prints it."""

    version: Literal[1] = Field(VERSION, description="Of this format.")
    inventory: str = Field(description="The inventory, as it was named.")
    started: str = Field(description="When it began: UTC, ISO 8601.")
    seconds: float = Field(description="How long it took.")
    mode: Mode = Field(description="`quick` leaves out what takes long.")
    summary: Summary = Field(description="How many of them, and how they are.")
    hosts: tuple[HostPart, ...] = Field(description="Every machine of this run.")
