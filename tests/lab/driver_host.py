"""A lab host on which the driver step is tried: what tests of it share."""

from typing import Any

import yaml

from lab.lab import Lab
from tests.lab.conftest import DRIVER_HOST as HOST
from tests.lab.conftest import bare
from tests.lab.fleet import MIRROR, Fleet, Run

BARE = "bare-debian12-2x-rtx3090"
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
LOADED = "sed -nE '1s/.*Module +(for [^ ]+ +)?([0-9.]+).*/\\2/p' /proc/driver/nvidia/version"
REPOSITORY = f"{MIRROR}/compute/cuda/repos"
# Which of the mirror's keys signs the repository of a distribution.
KEYS = {"debian-13": "cuda-debian13", "rocky-10.0": "cuda-rhel10", "rocky": "cuda-rhel"}


def prepare(lab: Lab, profile: str) -> None:
    """A bare host of this profile under our name."""
    bare(lab, HOST, profile)


def fingerprint(lab: Lab, key: str = "cuda") -> str:
    """Fingerprint of one of the mirror's keys."""
    prints = yaml.safe_load((lab.paths.root / "mirror/fingerprints.yml").read_text())
    return str(prints[key])


def deploy(
    fleet: Fleet, *slices: dict[str, Any], driver: dict[str, Any] | None = None, **more: Any
) -> Run:
    """One deploy with this `driver:` block on the lab's repositories."""
    settings = {"repository": REPOSITORY, **(driver or {})}
    if "key" not in settings:
        settings.setdefault("key_fingerprint", fingerprint(fleet.lab, _key(fleet)))
    fleet.add(HOST, *slices, driver=settings, **more)
    return fleet.deploy()


def _key(fleet: Fleet) -> str:
    system = fleet.sh(HOST, ". /etc/os-release; echo $ID-$VERSION_ID")
    return KEYS.get(system) or KEYS.get(system.partition("-")[0], "cuda")


def loaded(fleet: Fleet) -> str:
    """Version of the kernel module in use."""
    return fleet.sh(HOST, LOADED)


def driver_changes(run: Run) -> list[str]:
    """Operations of the driver step that changed the host."""
    return [name for name in run.changed() if name.startswith("Driver")]
