"""The nouns of the live view: a fleet as it is now.

Memory in MiB, times in seconds. None is what nobody could tell; it is
never a zero. `tokens_per_s` and `requests_per_s` are of the last minute, of requests that ended in it.
"""

from dataclasses import dataclass, field

from ollama_fleet.checks.kinds import Severity


@dataclass(frozen=True)
class Alarm:
    """Something that is wrong now; `check` is a name of `checks.kinds`, `subject` as in its results."""

    host: str
    subject: str
    check: str
    severity: Severity
    words: str


@dataclass(frozen=True)
class GpuNow:
    """A GPU; `index` is nvidia-smi's, `position` its place in PCI order, which plans count by.

    `planned_mib` is what the plan puts on it, without margins. `slowed` says why its hardware
    holds its clocks down, `warm` why the driver does; `cut` that it is cut into MIG instances.
    """

    position: int
    index: int | None
    address: str
    name: str
    memory_mib: int | None
    used_mib: int | None
    planned_mib: int | None
    utilization_percent: int | None
    temperature_c: int | None
    power_w: float | None
    power_limit_w: float | None
    slowed: tuple[str, ...] = ()
    warm: str = ""
    ecc_uncorrected: int | None = None
    lost: bool = False
    cut: bool = False


@dataclass(frozen=True)
class ModelNow:
    """A loaded model: its size, how much of it lies on GPUs, and until when it stays.

    `kept_s` is how long it stays when nobody asks it; None: for good.
    """

    name: str
    size_mib: int
    vram_mib: int
    kept_s: int | None
    context: int | None = None


@dataclass(frozen=True)
class SliceNow:
    """A slice. `gpus` are positions of GpuNow, `instance` a MIG profile or empty. `models` is None where its
    API does not answer, `listens` whether its port is open.

    `serves`: what the host's health watch says, which asks for tokens; None where nobody watches.
    `running` are requests that it serves now; `restarts` since its unit was loaded.
    """

    name: str
    port: int
    gpus: tuple[int, ...] = ()
    instance: str = ""
    state: str | None = None
    restarts: int | None = None
    listens: bool | None = None
    models: tuple[ModelNow, ...] | None = None
    serves: bool | None = None
    silence: str = ""
    drained: str = ""
    quarantined: str = ""
    running: int | None = None
    requests_per_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class DiskNow:
    """The file system that holds `path`."""

    path: str
    size_mib: int
    free_mib: int


@dataclass(frozen=True)
class SystemNow:
    """The machine itself. `cpu_percent`, of all its CPUs, needs two samples."""

    cpus: int | None = None
    cpu_percent: float | None = None
    load: float | None = None
    memory_mib: int | None = None
    available_mib: int | None = None
    disks: tuple[DiskNow, ...] = ()


@dataclass(frozen=True)
class PoolNow:
    """A model at a gateway: who waits, who is served, and what the last minute was like.

    `up` of `slices` take requests. `first_byte_s` and `slowest_first_byte_s` are the median and the 95th
    percentile of the time until an answer's first byte; `faults` are answers of 500 and more.
    """

    gateway: str
    model: str
    waiting: int | None = None
    running: int | None = None
    up: int | None = None
    slices: int = 0
    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    first_byte_s: float | None = None
    slowest_first_byte_s: float | None = None
    faults: int | None = None


@dataclass(frozen=True)
class Cost:
    """What the view costs a machine: CPU seconds of one frame, how often it comes, the share of all CPUs."""

    frame_s: float
    every_s: float
    cpu_percent: float | None


@dataclass(frozen=True)
class MachineNow:
    """One machine of the fleet; `error` says why it cannot be asked, `age_s` how old the rest is."""

    name: str
    roles: tuple[str, ...]
    error: str = ""
    age_s: float | None = None
    system: SystemNow = field(default_factory=SystemNow)
    gpus: tuple[GpuNow, ...] = ()
    slices: tuple[SliceNow, ...] = ()
    pools: tuple[PoolNow, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True)
class FleetNow:
    """All machines, in the order of the inventory. `at`: UTC as ISO 8601."""

    inventory: str
    at: str
    machines: tuple[MachineNow, ...]

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Of all machines, the worst first."""
        rank = {"critical": 0, "major": 1, "minor": 2}
        every = [alarm for machine in self.machines for alarm in machine.alarms]
        return tuple(sorted(every, key=lambda alarm: rank[alarm.severity]))

    @property
    def reached(self) -> bool:
        """Whether every machine answered."""
        return not any(machine.error for machine in self.machines)
