"""What a host needs beside its GPUs: RAM, CPU cores, disk. Imports the catalogue only.

Least needs are computed from the files; the guide's figures for Qwen3 stand beside them, with what
they are too generous for. Preflight refuses too little disk and warns of too little RAM.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_fleet.catalogue import Model

MIB, GB = 2**20, 10**9

# The operating system, sshd, the server processes and metrics.
SYSTEM_RAM_MIB = 2048
# One runner: process, tokenizer, host buffers of a batch, the server in front of it.
RUNNER_RAM_MIB = 1024
SYSTEM_CORES = 2
# A rounded size of the library page may be this much off (±0.5 of two digits, 5 % at the least).
ROUNDED_SHARE = 0.05
# Two unpacked releases (old and new during an update), logs and some room for the system.
SYSTEM_DISK_MIB = 20 * 1024


@dataclass(frozen=True)
class GuideNeeds:
    """A row of the guide's table, in the GB that it prints."""

    vram_gb: int
    ram_gb: int
    cpu_cores: int
    disk_gb: int


# qwen3 tags: least VRAM, RAM, CPU cores, SSD of the guide on deploying Qwen3.
GUIDE = {
    "qwen3:0.6b": GuideNeeds(4, 8, 4, 100),
    "qwen3:1.7b": GuideNeeds(6, 16, 4, 100),
    "qwen3:4b": GuideNeeds(10, 16, 6, 100),
    "qwen3:8b": GuideNeeds(12, 16, 8, 150),
    "qwen3:14b": GuideNeeds(24, 32, 8, 200),
    "qwen3:30b": GuideNeeds(48, 64, 12, 250),
    "qwen3:32b": GuideNeeds(48, 64, 12, 250),
    "qwen3:235b": GuideNeeds(480, 512, 16, 1000),
}


@dataclass(frozen=True)
class Need:
    """One figure with its reason; `guide` is what the guide asks for, where it says something."""

    least: int
    comfortable: int
    unit: str
    reason: str
    guide: int | None = None

    def __str__(self) -> str:
        guide = f"; the guide asks for {self.guide} {self.unit}" if self.guide else ""
        return f"{self.least} {self.unit} at least, {self.comfortable} to be at ease{guide}: " + (
            self.reason
        )


@dataclass(frozen=True)
class HostNeeds:
    """Needs of a host that serves some models; RAM in MiB, disk in MiB."""

    ram: Need
    cpu: Need
    disk: Need


def host_needs(models: Iterable[Model], *, loaded: int | None = None) -> HostNeeds:
    """Needs of a host with these models.

    + models: every model that is pulled to it; one named twice counts for disk once
    + loaded: how many are loaded at a time (default: all, each as often as it is named)
    """
    named = list(models)
    runners = len(named) if loaded is None else min(loaded, len(named))
    return HostNeeds(_ram(named, runners), _cpu(named, runners), _disk(named))


def download_bytes(models: Iterable[Model]) -> int:
    """What pulling them takes on disk: each file once, rounded sizes with their rounding."""
    files = {model.manifest_id or model.tag: model for model in models}
    return sum(_file_bytes(model) for model in files.values())


def host_weights_bytes(model: Model) -> int:
    """Weights that stay in host memory with every layer on the GPU: the token table where the output
    does not share it, per-layer embeddings (7 GB file, 1.5 GB on the GPU for gemma4:e2b).
    """
    return max(0, model.file_bytes - model.weight_bytes - model.projector_bytes)


def _file_bytes(model: Model) -> int:
    return model.file_bytes if model.file_exact else int(model.file_bytes * (1 + ROUNDED_SHARE))


def _ram(models: list[Model], runners: int) -> Need:
    """System + per runner (process + host weights); at ease: the largest file in the page cache."""
    heaviest = sorted((host_weights_bytes(model) for model in models), reverse=True)[:runners]
    host_mib = -(-sum(heaviest) // MIB)
    least = SYSTEM_RAM_MIB + runners * RUNNER_RAM_MIB + host_mib
    largest_mib = max((-(-model.file_bytes // MIB) for model in models), default=0)
    reason = (
        f"{SYSTEM_RAM_MIB} for the system, {RUNNER_RAM_MIB} for each of {runners} runners, {host_mib} "
        f"of weights that stay in host memory; {largest_mib} more keep the largest file cached, so "
        "that it loads again without the disk"
    )
    return Need(least, least + largest_mib, "MiB", reason, _guide(models, "ram_gb", GB / MIB))


def _cpu(models: list[Model], runners: int) -> Need:
    """Each runner keeps one core busy while it decodes on the GPU; one more tokenises and samples."""
    least = SYSTEM_CORES + runners
    reason = (
        f"{SYSTEM_CORES} for the system, 1 for each of {runners} runners (one thread feeds the GPU); "
        "more cores do not speed up a model that is whole on the GPU"
    )
    return Need(least, SYSTEM_CORES + 2 * runners, "cores", reason, _guide(models, "cpu_cores", 1))


def _disk(models: list[Model]) -> Need:
    """Every file once, and room for the system; at ease: as much again for the next version."""
    files_mib = -(-download_bytes(models) // MIB)
    reason = (
        f"{files_mib} of model files (equal ones once), {SYSTEM_DISK_MIB} for two releases of Ollama, "
        "logs and the system; as much again lets a new version of each be pulled beside the old"
    )
    least = files_mib + SYSTEM_DISK_MIB
    return Need(least, least + files_mib, "MiB", reason, _guide(models, "disk_gb", GB / MIB))


def _guide(models: list[Model], field: str, factor: float) -> int | None:
    """The guide's figure for the most demanding of these models, None where it names none."""
    named = [GUIDE[model.tag] for model in models if model.tag in GUIDE]
    return int(max(getattr(row, field) for row in named) * factor) if named else None
