"""One verification of a fleet as a value: what was found where, and what a picture of the fleet needs.

Pure data: runners make it (deploy, `fleet verify`, testinfra), reports show it. Memory in MiB, times in
seconds, `started` in UTC as ISO 8601. None is what nobody could tell; it is never a zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ollama_fleet.checks.model import CheckResult

Role = Literal["host", "gateway", "mirror", "monitor"]
Mode = Literal["full", "quick"]


@dataclass(frozen=True)
class InstanceSight:
    """A MIG instance of a GPU, in the order of their places on it; `slice` is empty where none has it."""

    profile: str
    memory_mib: int | None = None
    used_mib: int | None = None
    slice: str = ""


@dataclass(frozen=True)
class GpuSight:
    """A GPU as the host sees it; `planned_mib` what the plan puts on it, all its slices together.

    `lost`: the driver cannot use it any more. One that is on the PCI bus only has index -1, no name and
    no memory.
    """

    index: int
    uuid: str
    address: str
    name: str
    memory_mib: int
    used_mib: int | None = None
    planned_mib: int | None = None
    temperature_c: int | None = None
    lost: bool = False
    instances: tuple[InstanceSight, ...] = ()


@dataclass(frozen=True)
class SliceSight:
    """A slice: `gpus` are indices of GpuSight; `instance` a MIG profile such as 3g.20gb, or empty.

    `held_mib` is what the driver says its processes hold, `planned_mib` what the plan reckons for it.
    """

    name: str
    gpus: tuple[int, ...]
    port: int
    models: tuple[str, ...]
    instance: str = ""
    planned_mib: int | None = None
    held_mib: int | None = None
    tokens_per_s: float | None = None
    drained: bool = False


@dataclass(frozen=True)
class HostOutcome:
    """What one machine of the fleet said; `error` says why it could not be asked, else empty.

    `address` is where it was reached, `driver` the version that is loaded, `ollama` the one that is
    planned; each is empty where nobody knows it.
    """

    host: str
    roles: tuple[Role, ...]
    results: tuple[CheckResult, ...] = ()
    error: str = ""
    gpus: tuple[GpuSight, ...] = ()
    slices: tuple[SliceSight, ...] = ()
    address: str = ""
    driver: str = ""
    ollama: str = ""

    @property
    def failed(self) -> bool:
        """Whether it could not be asked, or one of its checks failed."""
        return bool(self.error) or any(result.failed for result in self.results)


@dataclass(frozen=True)
class Outcome:
    """One run over a fleet. `inventory` is the file's name as the user gave it."""

    inventory: str
    started: str
    seconds: float
    mode: Mode
    hosts: tuple[HostOutcome, ...]

    @property
    def results(self) -> Iterator[CheckResult]:
        """Results of all machines."""
        for host in self.hosts:
            yield from host.results

    @property
    def failed(self) -> bool:
        """Whether anything has to be mended."""
        return any(host.failed for host in self.hosts)
