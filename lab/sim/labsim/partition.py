"""One card cut into MIG instances: where they lie, what is free, what they are called.

Pure state: it knows no clients or nodes, and of files only the fault about its names. A GPU instance
(GI) is a range of memory slices, a compute instance (CI) a range of its compute slices; a MIG device
is one compute instance.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from . import paths
from .profiles import Layout, Profile

UUID_SPACE = uuid.UUID("5ddc1a3c-7f0c-5e0f-9d43-6d69672d6c61")
IDLE_MIB = 13  # what an instance takes for itself
CI_PROFILE_IDS = {1: 0, 2: 1, 3: 2, 4: 3, 7: 4}  # by compute slices
CI_STEPS = {1: 1, 2: 2, 3: 4, 4: 4, 7: 7}  # a compute instance starts at a multiple of this
MOST_GIS, MOST_CIS = 15, 8  # per card and per GPU instance, for the capability minors
FIRST_MINOR = 3  # 1 and 2 are mig/config and mig/monitor

INSUFFICIENT = "Insufficient Resources"
IN_USE = "In use by another client"
INVALID = "Invalid Argument"
NOT_FOUND = "Not Found"


class MigError(Exception):
    """NVML's word for why not."""


@dataclass(frozen=True)
class ComputeInstance:
    id: int
    start: int
    size: int  # compute slices


@dataclass
class GpuInstance:
    id: int
    start: int
    profile: Profile
    compute: dict[int, ComputeInstance] = field(default_factory=dict)

    @property
    def slices(self) -> range:
        return range(self.start, self.start + self.profile.size)

    @property
    def ci_sizes(self) -> list[int]:
        """The sizes that its compute instances may have; three of four is not one of them."""
        whole = self.profile.compute
        return [size for size in CI_STEPS if size <= whole and not (size == 3 and whole == 4)]

    def ci_name(self, size: int) -> str:
        prefix = "" if size == self.profile.compute else f"{size}c."
        return f"{prefix}{self.profile.name}"

    def free_starts(self, size: int) -> list[int]:
        taken = {n for ci in self.compute.values() for n in range(ci.start, ci.start + ci.size)}
        starts = range(0, self.profile.compute - size + 1, CI_STEPS[size])
        return [start for start in starts if not taken & set(range(start, start + size))]


class Partition:
    """The instances of one card, by GPU instance id."""

    def __init__(self, gpu_uuid: str, minor: int, layout: Layout) -> None:
        self.gpu_uuid, self.minor, self.layout = gpu_uuid, minor, layout
        self.instances: dict[int, GpuInstance] = {}
        self._salt = _salt()

    def clear(self) -> None:
        self.instances.clear()

    def create(self, wanted: str) -> GpuInstance:
        """`wanted` is a profile's id or name, with `:start` where a placement is asked for."""
        name, _, placement = wanted.partition(":")
        profile = self.layout.find(name)
        if profile is None or (placement and not placement.isdecimal()):
            raise MigError(INVALID)
        if placement and int(placement) not in profile.starts:
            raise MigError(INVALID)
        free = self.free_starts(profile)
        if placement:
            free = [start for start in free if start == int(placement)]
        if not free:
            raise MigError(INSUFFICIENT)
        made = GpuInstance(self._id(profile, free[0]), free[0], profile)
        self.instances[made.id] = made
        return made

    def destroy(self, gi: int) -> None:
        if self._found(gi).compute:
            raise MigError(IN_USE)
        del self.instances[gi]

    def create_compute(self, gi: int, wanted: str | None) -> ComputeInstance:
        """`wanted` is an id or name of -lcip; None takes the whole GPU instance."""
        instance = self._found(gi)
        size = instance.profile.compute if wanted is None else _ci_size(instance, wanted)
        free = instance.free_starts(size)
        if not free:
            raise MigError(INSUFFICIENT)
        number = next(n for n in range(MOST_CIS) if n not in instance.compute)
        instance.compute[number] = ComputeInstance(number, free[0], size)
        return instance.compute[number]

    def destroy_compute(self, gi: int, ci: int) -> None:
        if ci not in self._found(gi).compute:
            raise MigError(NOT_FOUND)
        del self.instances[gi].compute[ci]

    def free_starts(self, profile: Profile) -> list[int]:
        """Where one more of it would go, in the order of trying."""
        taken = {n for instance in self.instances.values() for n in instance.slices}
        same = sum(instance.profile.id == profile.id for instance in self.instances.values())
        free = [s for s in profile.starts if not taken & set(range(s, s + profile.size))]
        return free[: max(0, profile.most - same)]

    def devices(self) -> list[dict[str, Any]]:
        """The MIG devices in nvidia-smi's order; their index counts them."""
        rows = [(gi, ci) for gi in self._sorted() for _, ci in sorted(gi.compute.items())]
        return [self._device(index, gi, ci) for index, (gi, ci) in enumerate(rows)]

    def uuid(self, gi: int, ci: int) -> str:
        return _uuid(f"{self._salt}{self.gpu_uuid}", gi, ci)

    def gi_minor(self, gi: int) -> int:
        return FIRST_MINOR + (self.minor * MOST_GIS + gi) * (MOST_CIS + 1)

    def ci_minor(self, gi: int, ci: int) -> int:
        return self.gi_minor(gi) + 1 + ci

    def shown(self) -> dict[str, Any]:
        """Profiles and instances as `nvidia-smi mig` lists them."""
        return {
            "profiles": [self._shown_profile(profile) for profile in self.layout.profiles],
            "gpu_instances": [self._shown_instance(instance) for instance in self._sorted()],
        }

    def _found(self, gi: int) -> GpuInstance:
        if gi not in self.instances:
            raise MigError(NOT_FOUND)
        return self.instances[gi]

    def _sorted(self) -> list[GpuInstance]:
        return [self.instances[gi] for gi in sorted(self.instances)]

    def _id(self, profile: Profile, start: int) -> int:
        """The id follows from size and place: 0 is the whole card, 1 and 2 its halves, …"""
        return self.layout.grid // profile.size - 1 + start // profile.size

    def _device(self, index: int, gi: GpuInstance, ci: ComputeInstance) -> dict[str, Any]:
        share = ci.size / gi.profile.compute
        caps = (self.gi_minor(gi.id), self.ci_minor(gi.id, ci.id))
        return {
            "index": index,
            "uuid": self.uuid(gi.id, ci.id),
            "name": gi.ci_name(ci.size),
            "gi": gi.id,
            "ci": ci.id,
            "memory_total_mib": gi.profile.memory_mib,
            "sm": round(gi.profile.sm * share),
            "engines": list(gi.profile.engines),
            "share": gi.profile.size / self.layout.grid,
            "nodes": [f"nvidia-caps/nvidia-cap{minor}" for minor in caps],
        }

    def _shown_profile(self, profile: Profile) -> dict[str, Any]:
        return {
            **{key: value for key, value in vars(profile).items() if key != "starts"},
            "starts": sorted(profile.starts),
            "free": len(self.free_starts(profile)),
        }

    def _shown_instance(self, instance: GpuInstance) -> dict[str, Any]:
        profile = instance.profile
        return {
            "id": instance.id,
            "start": instance.start,
            "size": profile.size,
            "name": profile.name,
            "profile_id": profile.id,
            "compute": [
                {**vars(ci), "name": instance.ci_name(ci.size), "profile_id": ci_profile(ci.size)}
                for _, ci in sorted(instance.compute.items())
            ],
            "ci_profiles": [_shown_ci_profile(instance, size) for size in instance.ci_sizes],
        }


def _salt() -> str:
    """Of the UUIDs, for as long as the driver is loaded: they follow from GPU and ids, as the real ones
    seem to, unless the fault is on; nobody has promised that they do."""
    changes = os.path.exists(f"{paths.FAULTS}/mig-uuids-change.json")
    return f"{uuid.uuid4()}/" if changes else ""


@lru_cache(maxsize=1024)
def _uuid(gpu_uuid: str, gi: int, ci: int) -> str:
    return f"MIG-{uuid.uuid5(UUID_SPACE, f'{gpu_uuid}/{gi}/{ci}')}"


def ci_profile(size: int) -> int:
    return CI_PROFILE_IDS[size]


def _ci_size(instance: GpuInstance, wanted: str) -> int:
    for size in instance.ci_sizes:
        name = instance.ci_name(size)
        if wanted in (str(ci_profile(size)), name, f"MIG {name}"):
            return size
    raise MigError(INVALID)


def _shown_ci_profile(instance: GpuInstance, size: int) -> dict[str, Any]:
    whole = instance.profile.compute
    return {
        "id": ci_profile(size),
        "is_default": size == whole,
        "name": instance.ci_name(size),
        "free": len(instance.free_starts(size)),
        "most": len(range(0, whole - size + 1, CI_STEPS[size])),
        "sm": instance.profile.sm * size // whole,
        "engines": list(instance.profile.engines),
    }
