"""What can be set on one card while its driver is loaded: MIG mode and instances, limits, modes.

It lives as long as the module does; what outlives that is read from and written to the InfoROM.
"""

from __future__ import annotations

from typing import Any

from . import inforom
from .partition import Partition
from .profiles import layout_of

# By architecture: highest graphics and memory clock in MHz of the lab's cards.
CLOCKS_MHZ = {
    "Hopper": (1980, 2619),
    "Blackwell": (1965, 3996),
    "Turing": (1590, 5001),
    "Volta": (1530, 877),
    "Pascal": (1911, 5005),
}
DATA_CENTRE_AMPERE_MHZ, DESKTOP_MHZ = (1410, 1512), (2100, 9751)
LOWEST_CLOCK_MHZ = 210
LOWEST_POWER_W, LOWEST_POWER_SHARE = 100, 2 / 7
COMPUTE_MODES = ("Default", "Exclusive_Process", "Prohibited")


class GpuState:
    def __init__(self, gpu: dict[str, Any]) -> None:
        self.gpu, self.uuid = gpu, str(gpu["uuid"])
        layout = layout_of(gpu)
        self.partition = Partition(self.uuid, int(gpu["minor"]), layout) if layout else None
        stored = inforom.read(self.uuid)
        self.mig = self.mig_pending = bool(self.keeps_mig and stored.get("mig"))
        self.ecc = self.ecc_pending = bool(self.has_ecc and stored.get("ecc", True))
        self._default_settings()

    def _default_settings(self) -> None:
        self.power_limit_w = self.power_default_w
        self.graphics_clock_mhz: list[int] | None = None
        self.memory_clock_mhz: list[int] | None = None
        self.compute_mode = "Default"

    @property
    def keeps_mig(self) -> bool:
        """Ampere needs a reset for MIG mode and keeps it in its InfoROM; later ones do neither."""
        return self.partition is not None and self.gpu.get("architecture") == "Ampere"

    @property
    def has_ecc(self) -> bool:
        return bool(self.gpu.get("ecc", "GeForce" not in self.gpu["name"]))

    @property
    def power_default_w(self) -> float:
        return float(self.gpu.get("power_limit_w", 250))

    @property
    def power_min_w(self) -> float:
        share = int(self.power_default_w * LOWEST_POWER_SHARE)
        return float(min(self.power_default_w, max(LOWEST_POWER_W, share)))

    @property
    def clocks_max_mhz(self) -> tuple[int, int]:
        is_desktop = "GeForce" in self.gpu["name"] or "RTX" in self.gpu["name"]
        default = DESKTOP_MHZ if is_desktop else DATA_CENTRE_AMPERE_MHZ
        return CLOCKS_MHZ.get(self.gpu.get("architecture", ""), default)

    @property
    def devices(self) -> list[dict[str, Any]]:
        """Its MIG devices; none while MIG mode is off."""
        return self.partition.devices() if self.partition and self.mig else []

    @property
    def tokens(self) -> list[str]:
        """By which names memory of this card is held: its own, or those of its MIG devices."""
        return [device["uuid"] for device in self.devices] if self.mig else [self.uuid]

    def reset(self) -> None:
        """A GPU reset: pending modes come into force, instances and settings are gone."""
        if self.partition:
            self.partition.clear()
        self.mig, self.ecc = self.mig_pending, self.ecc_pending
        self._default_settings()

    def set_mig(self, enabled: bool) -> None:
        """The mode that is asked for; whether it is in force yet is the caller's to decide."""
        self.mig_pending = enabled
        if self.keeps_mig:
            inforom.remember(self.uuid, "mig", enabled)

    def set_ecc(self, enabled: bool) -> None:
        self.ecc_pending = enabled
        inforom.remember(self.uuid, "ecc", enabled)

    def shown_settings(self) -> dict[str, Any]:
        graphics_max, memory_max = self.clocks_max_mhz
        return {
            "power_limit_w": self.power_limit_w,
            "power_default_w": self.power_default_w,
            "power_min_w": self.power_min_w,
            "power_max_w": self.power_default_w,
            "graphics_clock_mhz": self.graphics_clock_mhz,
            "memory_clock_mhz": self.memory_clock_mhz,
            "graphics_clock_max_mhz": graphics_max,
            "memory_clock_max_mhz": memory_max,
            "compute_mode": self.compute_mode,
            "ecc_current": self.ecc,
            "ecc_pending": self.ecc_pending,
        }
