"""A host's driver as it is: answers to `questions` become one frozen `State`. Pure text."""

import re
from dataclasses import dataclass, field

from ollama_fleet.driver.flavour import NVLINK5_IDS, OPEN, PROPRIETARY, version_key
from ollama_fleet.driver.packages import (
    Package,
    read_images,
    read_locks,
    read_packages,
    read_pinned,
    unlocked,
)
from ollama_fleet.hardware.found import (
    DISPLAY_CLASSES,
    Hardware,
    parse_loaded_driver,
    read_hardware,
)
from ollama_fleet.questions import Answers

BRIDGE_CLASS = "0x0680"
# Switches of the fourth NVLink and older; fifth-generation ones are no NVIDIA PCI functions.
SWITCH_IDS = frozenset({0x1AF1, 0x22A3, 0x1AC2})


@dataclass(frozen=True)
class KernelState:
    """One installed kernel: headers, and the driver module that modprobe would take there."""

    release: str
    has_headers: bool
    module: str | None
    flavour: str | None


@dataclass(frozen=True)
class Unit:
    """A unit in systemd's words."""

    load: str = "not-found"
    active: str = "inactive"
    enabled: str = ""


@dataclass(frozen=True)
class State:
    """Everything that the decision needs to know of a host."""

    os_id: str = ""
    os_version: str = ""
    machine: str = ""
    kernel: str = ""
    gpu_ids: tuple[int, ...] = ()
    switches: bool = False
    loaded: str | None = None
    loaded_flavour: str | None = None
    nouveau: bool = False
    kernels: tuple[KernelState, ...] = ()
    library: str | None = None
    packages: tuple[Package, ...] = ()
    origins: frozenset[str] = frozenset()
    runfile: bool = False
    secure_boot: bool = False
    units: dict[str, Unit] = field(default_factory=dict)
    persistence_off: bool = False
    files: dict[str, str] = field(default_factory=dict)
    pinned: str | None = None
    locks: tuple[str, ...] = ()
    stale_initramfs: bool = False
    stale_lists: tuple[str, ...] = ()
    mixed_lists: tuple[str, ...] = ()
    dgx: bool = False
    kept: bool = False
    slices: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    free_mib: dict[str, int] = field(default_factory=dict)
    hardware: Hardware = field(default_factory=Hardware)

    @property
    def on_disk(self) -> str | None:
        """Version of the module that the running kernel would load."""
        return next((item.module for item in self.kernels if item.release == self.kernel), None)

    @property
    def disk_flavour(self) -> str | None:
        """Flavour of that module."""
        return next((item.flavour for item in self.kernels if item.release == self.kernel), None)

    @property
    def newest_kernel(self) -> KernelState | None:
        """The one that a reboot starts, by all that can be known."""
        return max(self.kernels, key=lambda item: _kernel_key(item.release), default=None)

    @property
    def works(self) -> bool:
        """nvidia-smi speaks to a loaded module and shows every GPU on the bus."""
        hardware = self.hardware
        return (
            self.loaded is not None
            and hardware.smi_code == 0
            and 0 < len(hardware.gpus) == len(hardware.pci_gpus)
            and not any(gpu.lost for gpu in hardware.gpus)
        )

    @property
    def nvlink5(self) -> bool:
        """Its switches want a subnet manager as well."""
        return bool(NVLINK5_IDS.intersection(self.gpu_ids))

    @property
    def has_fabric(self) -> bool:
        """A fabric manager has to run."""
        return self.switches

    def unlocked(self, version: str) -> list[str]:
        """Packages of the driver `version` that no lock of dnf's holds as they are."""
        return unlocked(self.packages, self.locks, version)

    def fabric_package(self) -> Package | None:
        """The installed fabric manager."""
        names = re.compile(r"nvidia-fabric-?manager(-\d+)?")
        return next((item for item in self.packages if names.fullmatch(item.name)), None)


def read_state(answers: Answers) -> State:
    """Answers to `questions`."""
    names = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', answers["driver.os"].text, re.M))
    functions = _functions(answers["driver.pci"].lines)
    loaded = answers["driver.loaded"].text
    return State(
        os_id=names.get("ID", ""),
        os_version=names.get("VERSION_ID", ""),
        machine=answers["driver.machine"].text.strip(),
        kernel=answers["driver.kernel"].text.strip(),
        gpu_ids=tuple(number for number, kind in functions if kind[:6] in DISPLAY_CLASSES),
        switches=bool(answers["driver.switches"].lines)
        or any(kind[:6] == BRIDGE_CLASS and number in SWITCH_IDS for number, kind in functions),
        loaded=parse_loaded_driver(loaded),
        loaded_flavour=_flavour(loaded),
        nouveau="nouveau" in answers["driver.modules"].lines,
        kernels=_kernels(answers["driver.kernels"].lines),
        library=_library(answers["driver.library"].lines),
        packages=read_packages(answers["driver.packages"].lines),
        origins=_origins(answers["driver.sources"].text),
        runfile=bool(answers["driver.runfile"].lines),
        secure_boot="SecureBoot enabled" in answers["driver.secure_boot"].text,
        units=_units(answers["driver.units"].text),
        persistence_off="--no-persistence-mode" in _last(answers["driver.persistence"].lines),
        files=_digests(answers["driver.files"].lines),
        pinned=read_pinned(answers["driver.pinned"].lines),
        locks=read_locks(answers["driver.pinned"].lines),
        stale_initramfs=bool(answers["driver.initramfs"].lines),
        stale_lists=_lists(answers["driver.stale"].lines, "whole"),
        mixed_lists=_lists(answers["driver.stale"].lines, "mixed"),
        dgx=answers["driver.dgx"].code == 0,
        kept=bool(answers["driver.kept"].lines),
        slices=tuple(answers["driver.slices"].lines),
        images=read_images(answers["driver.packages"].lines),
        free_mib=_free(answers["driver.free"].lines),
        hardware=read_hardware(answers),
    )


def _functions(lines: list[str]) -> list[tuple[int, str]]:
    """`<address> <device> <class>` lines, as (device id, class)."""
    rows = [line.split() for line in lines]
    return [
        (int(row[1], 16), row[2])
        for row in rows
        if len(row) == 3 and re.fullmatch(r"0x[0-9a-fA-F]{1,4}", row[1])
    ]


def _flavour(text: str) -> str | None:
    if "Open Kernel Module" in text:
        return OPEN
    return PROPRIETARY if "Kernel Module" in text else None


def _kernels(lines: list[str]) -> tuple[KernelState, ...]:
    rows = [line.split(maxsplit=3) for line in lines]
    found = [
        KernelState(
            row[0],
            row[1] == "yes",
            row[2] if re.fullmatch(r"\d+(\.\d+)+", row[2]) else None,
            {"Dual MIT/GPL": OPEN, "NVIDIA": PROPRIETARY}.get(row[3]),
        )
        for row in rows
        if len(row) == 4
    ]
    return tuple(sorted(found, key=lambda item: _kernel_key(item.release)))


def _kernel_key(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release))


def _library(lines: list[str]) -> str | None:
    found = [re.search(r"libnvidia-ml\.so\.(\d+(?:\.\d+)+)$", line.strip()) for line in lines]
    versions = [match.group(1) for match in found if match]
    return max(versions, key=version_key, default=None)


def _origins(text: str) -> frozenset[str]:
    """Addresses that the installed version of each package comes from, out of `apt-cache policy`."""
    found = set()
    for block in re.split(r"^(?=\S)", text, flags=re.M):
        installed = re.search(r"^ \*\*\* .*\n((?: {5,}.*\n?)*)", block, re.M)
        if installed:
            found |= set(re.findall(r"^ +-?\d+ (\S+://\S+)", installed.group(1), re.M))
    return frozenset(found)


def _units(text: str) -> dict[str, Unit]:
    units = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            units[values["Id"]] = Unit(
                values.get("LoadState", ""),
                values.get("ActiveState", ""),
                values.get("UnitFileState", ""),
            )
    return units


def _digests(lines: list[str]) -> dict[str, str]:
    rows = [line.split(maxsplit=1) for line in lines]
    return {row[1]: row[0] for row in rows if len(row) == 2 and len(row[0]) == 64}


def _free(lines: list[str]) -> dict[str, int]:
    """`df -Pm` as mount point to free MiB."""
    rows = [line.split() for line in lines[1:]]
    return {row[5]: int(row[3]) for row in rows if len(row) >= 6 and row[3].isdigit()}


def _lists(lines: list[str], kind: str) -> tuple[str, ...]:
    """Paths of the lists of packages that are of this kind."""
    rows = [line.partition(" ") for line in sorted(lines)]
    return tuple(path for word, _, path in rows if word == kind)


def _last(lines: list[str]) -> str:
    return lines[-1] if lines else ""
