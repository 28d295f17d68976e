"""Hardware profiles: the cards, memory and disk of a lab host, read from YAML; no machines here."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.errors import UsageError, unknown
from lab.state import PACKAGE

PROFILES = PACKAGE / "profiles"
CARDS = PACKAGE / "cards.yml"
TOPOLOGY = PACKAGE / "lab.yml"
DRIVER_VERSION = "580.95.05"
UUID_SPACE = uuid.UUID("6f6c6c61-6d61-4665-8c65-65742d6c6162")
# In PCI order, with gaps as on a real board; low numbers are left to bridges and switches.
PCI_BUSES = ("17", "31", "4B", "65", "98", "B1", "CA", "E3")

Model = TypeVar("Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(_Strict):
    """One GPU model, a row of cards.yml."""

    name: str
    pci_device: str = Field(pattern=r"^[0-9a-f]{4}$")
    pci_class: Literal["0x030000", "0x030200"]
    architecture: str
    compute_cap: str = Field(pattern=r"^\d+\.\d$")
    memory_mib: int = Field(gt=0)
    bandwidth_gb_s: int = Field(gt=0)
    power_limit_w: int = Field(gt=0)
    mig_capable: bool


class GpuGroup(_Strict):
    card: str
    count: int = Field(ge=1, le=len(PCI_BUSES))


class Driver(_Strict):
    version: str = Field(DRIVER_VERSION, pattern=r"^\d+\.\d+(\.\d+)?$")
    flavour: Literal["open", "proprietary"] = "open"


class Kernel(_Strict):
    """A further installed kernel, beside the running one."""

    release: str = Field(pattern=r"^[\w.+~-]+$")
    headers: bool = False


Distribution = Literal[
    "debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04", "rocky-8", "rocky-9", "rocky-10"
]


class Profile(_Strict):
    """One file of profiles/."""

    what: str
    gpus: list[GpuGroup]
    ram_gib: int = Field(gt=0)
    cpus: int = Field(gt=0)
    disk_gib: int = Field(ge=2)
    nvswitch: int = Field(0, ge=0, le=6)
    minors: list[int] | None = None
    """The N of /dev/nvidiaN per GPU in PCI order; counted from 0 when not given."""
    driver: Driver | None = Driver()
    """Installed from the start, some other way than by packages; null: none."""
    distribution: Distribution = "debian-12"
    nouveau: bool = False
    """The free driver takes the cards at boot, unless it is kept out."""
    secure_boot: bool | None = None
    """null: a BIOS machine."""
    headers: bool = False
    """Whether the running kernel's headers are installed."""
    kernels: list[Kernel] = []
    updates: bool = False
    """Whether the source is on from which a newer kernel comes."""

    @property
    def card_names(self) -> list[str]:
        """One entry per GPU, in PCI order."""
        return [group.card for group in self.gpus for _ in range(group.count)]

    @model_validator(mode="after")
    def _minors_fit(self) -> Profile:
        count = len(self.card_names)
        if count > len(PCI_BUSES):
            raise ValueError(f"{count} GPUs: a lab host has room for {len(PCI_BUSES)}")
        if self.minors is not None and sorted(self.minors) != list(range(count)):
            raise ValueError(f"minors must name each of 0..{count - 1} once")
        return self


class Topology(_Strict):
    """lab.yml."""

    hosts: dict[str, str]
    default_profile: str


def profile_names(directory: Path = PROFILES) -> list[str]:
    """In a person's order: 2x before 10x."""
    names = [path.stem for path in directory.glob("*.yml")]
    return sorted(names, key=lambda name: (int((re.match(r"\d+", name) or ["999"])[0]), name))


def load_profile(name: str, directory: Path = PROFILES) -> Profile:
    if name not in profile_names(directory):
        raise unknown("profile", name, profile_names(directory))
    profile = _load(directory / f"{name}.yml", Profile)
    cards = load_cards()
    for card in profile.card_names:
        if card not in cards:
            raise unknown(f"card ({name}.yml)", card, cards)
    return profile


def load_cards() -> dict[str, Card]:
    return {name: _validated(CARDS, Card, row) for name, row in _yaml(CARDS).items()}


def load_topology() -> Topology:
    return _load(TOPOLOGY, Topology)


def hardware(profile: Profile, host: str) -> dict[str, Any]:
    """What hardware.json of this host says: the state that all simulated parts share."""
    cards = load_cards()
    gpus = [_gpu(cards[card], host, n, profile) for n, card in enumerate(profile.card_names)]
    driver = profile.driver.model_dump() if profile.driver and gpus else None
    system = profile.model_dump(
        include={"distribution", "nouveau", "secure_boot", "headers", "kernels", "updates"}
    )
    return {
        **system,
        "driver": driver,
        "gpus": gpus,
        "nvswitch": profile.nvswitch,
        "ram_mib": profile.ram_gib * 1024,
        "cpus": profile.cpus,
    }


def _gpu(card: Card, host: str, index: int, profile: Profile) -> dict[str, Any]:
    return {
        "index": index,
        "minor": profile.minors[index] if profile.minors else index,
        "uuid": f"GPU-{uuid.uuid5(UUID_SPACE, f'{host}/{index}')}",
        "name": card.name,
        "pci_bus_id": f"00000000:{PCI_BUSES[index]}:00.0",
        "pci_device_id": f"0x{card.pci_device.upper()}10DE",
        "pci_class": card.pci_class,
        "memory_total_mib": card.memory_mib,
        "compute_cap": card.compute_cap,
        "bandwidth_gb_s": card.bandwidth_gb_s,
        "mig_capable": card.mig_capable,
        "architecture": card.architecture,
        "power_limit_w": card.power_limit_w,
    }


def _load(path: Path, model: type[Model]) -> Model:
    return _validated(path, model, _yaml(path))


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"{path.name} is not valid YAML: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path.name} must hold keys and values")
    return found


def _validated(path: Path, model: type[Model], content: Any) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UsageError(_explained(path, model, error)) from None


def _explained(path: Path, model: type[BaseModel], error: ValidationError) -> str:
    lines = []
    for found in error.errors():
        place = ".".join(str(part) for part in found["loc"])
        hint = f" (keys: {', '.join(model.model_fields)})"
        lines.append(
            f"{path.name}: {place}: {found['msg']}"
            + (hint if found["type"] == "extra_forbidden" and len(found["loc"]) == 1 else "")
        )
    return "\n".join(lines)
