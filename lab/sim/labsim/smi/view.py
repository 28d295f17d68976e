"""The host as nvidia-smi sees it: one snapshot of the driver, and what sensors would read.

Sensor values follow from the processes, so that two outputs of one moment never disagree.
"""

from __future__ import annotations

from typing import Any

from .. import client, disk
from . import exits

CUDA_OF_BRANCH = {
    "535": "12.2", "550": "12.4", "555": "12.5", "560": "12.6", "565": "12.7", "570": "12.8",
    "575": "12.9", "580": "13.0", "590": "13.1", "595": "13.2", "610": "13.3",
}  # fmt: skip
PCIE_GEN = {"Pascal": 3, "Volta": 3, "Turing": 3, "Ampere": 4, "Ada Lovelace": 4}
IDLE_POWER, BUSY_POWER = 0.07, 0.42  # shares of the power limit


class Gpu:
    """One GPU of the snapshot; `found` holds what hardware.json and the driver say."""

    def __init__(self, found: dict[str, Any], host: dict[str, Any]) -> None:
        self.found, self.host = found, host
        self.index: int = found["index"]
        self.uuid: str = found["uuid"]
        self.name: str = found["name"]
        self.bus_id: str = found["pci_bus_id"].upper()
        self.lost: bool = found["state"] == "lost"
        self.processes = [p for p in host["processes"] if p["gpu_uuid"] == self.uuid]

    @property
    def driver_version(self) -> str:
        return str(self.host["driver"]["version"])

    @property
    def busy(self) -> bool:
        return bool(self.processes)

    @property
    def data_centre(self) -> bool:
        return "GeForce" not in self.name and "RTX" not in self.name

    @property
    def has_ecc(self) -> bool:
        """A fault that needs ECC brings it along, also to a GeForce card."""
        return bool(self.found.get("ecc", "GeForce" not in self.name) or self.row_remap_pending)

    @property
    def ecc_broken(self) -> bool:
        return bool(self.found["ecc_broken"])

    @property
    def row_remap_pending(self) -> bool:
        return bool(self.found["row_remap_pending"] or self.ecc_broken)

    @property
    def recovery_action(self) -> str:
        return "Reset" if self.row_remap_pending else "None"

    @property
    def ecc_enabled(self) -> bool:
        return self.has_ecc and bool(self.found["ecc_current"] or self.row_remap_pending)

    @property
    def in_mig(self) -> bool:
        return bool(self.found["mig"] and self.found["mig"]["current"])

    @property
    def mig_devices(self) -> list[dict[str, Any]]:
        return self.found["mig_devices"] or []

    @property
    def gpu_instances(self) -> list[dict[str, Any]]:
        return self.found["mig"]["gpu_instances"] if self.in_mig else []

    def mig_mode(self, when: str) -> str | None:
        """`when` is current or pending; None for a card without MIG."""
        mig = self.found["mig"]
        return mig and ("Enabled" if mig[when] else "Disabled")

    @property
    def on_fabric(self) -> bool:
        return bool(self.host["nvswitch"]) and self.found.get("architecture") != "Ampere"

    @property
    def fabric_state(self) -> str | None:
        return self.host["driver"]["fabric"] if self.on_fabric else None

    @property
    def power_limit_w(self) -> float:
        return float(self.found["power_limit_w"])

    @property
    def power_draw_w(self) -> float:
        return min(self._wanted_power_w, self.power_limit_w)

    @property
    def power_capped(self) -> bool:
        return self._wanted_power_w > self.power_limit_w

    @property
    def _wanted_power_w(self) -> float:
        share = BUSY_POWER if self.busy else IDLE_POWER
        return round(float(self.found["power_default_w"]) * share + self.index * 0.37 + 0.11, 2)

    @property
    def temperature_c(self) -> int:
        return (57 if self.busy else 31) + self.index % 5

    @property
    def utilization_percent(self) -> int | None:
        """Not known of a card in MIG mode: its instances have their own."""
        return None if self.in_mig else 38 + self.index % 7 if self.busy else 0

    @property
    def memory_utilization_percent(self) -> int | None:
        return None if self.in_mig else 21 + self.index % 7 if self.busy else 0

    @property
    def fan_percent(self) -> int | None:
        return None if self.data_centre else (46 if self.busy else 30)

    @property
    def pstate(self) -> str:
        return "P2" if self.busy else "P0" if self.data_centre else "P8"

    @property
    def pcie_gen(self) -> int:
        return PCIE_GEN.get(self.found.get("architecture", ""), 5)

    @property
    def sm_mhz(self) -> int:
        natural = min(1695, self.found["graphics_clock_max_mhz"]) if self.busy else 210
        return self._locked(natural, "graphics_clock")

    @property
    def memory_mhz(self) -> int:
        natural = min(9501, self.found["memory_clock_max_mhz"]) if self.busy else 405
        return self._locked(natural, "memory_clock")

    def _locked(self, natural_mhz: int, clock: str) -> int:
        """Where the lock of that clock lets it go; locks beyond the card's range end there."""
        low, high = self.found[f"{clock}_mhz"] or (0, natural_mhz)
        most = int(self.found[f"{clock}_max_mhz"])
        return min(most, max(low, min(natural_mhz, high)))

    @property
    def vbios(self) -> str:
        return str(self.found.get("vbios", "94.02.42.00.A5"))

    @property
    def serial(self) -> str | None:
        digits = str(int(self.uuid[4:12], 16)) if self.data_centre else None
        return self.found.get("serial") or (digits and f"165{digits:0>10}")

    def matches(self, wanted: str) -> bool:
        """`-i` takes an index, a UUID or a bus id with any width of domain."""
        same_bus = len(wanted) >= 7 and wanted.upper()[-7:] == self.bus_id[-7:]
        return same_bus or wanted in (str(self.index), self.uuid)


class Host:
    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.snapshot = snapshot
        self.gpus = [Gpu(found, snapshot) for found in snapshot["gpus"]]

    @property
    def driver_version(self) -> str:
        return str(self.snapshot["driver"]["version"])

    @property
    def cuda_version(self) -> str:
        return CUDA_OF_BRANCH.get(self.driver_version.split(".")[0], "13.0")

    def select(self, wanted: str | None) -> list[Gpu]:
        if wanted is None:
            return self.gpus
        names = [name.strip() for name in wanted.split(",")]
        chosen = [gpu for gpu in self.gpus if any(map(gpu.matches, names))]
        if not chosen:
            raise exits.no_devices()
        return chosen


def look() -> Host:
    """Ask the driver once; raise the Exit that a real nvidia-smi would end with."""
    if disk.library_version() is None:
        raise exits.no_library()
    try:
        snapshot = client.ask("snapshot")
    except client.NotLoadedError as error:
        raise exits.not_loaded() from error
    driver = snapshot["driver"]
    if not driver["loaded"]:
        raise exits.not_loaded()
    if driver["mismatch"]:
        raise exits.version_mismatch(driver["library_version"])
    if not snapshot["gpus"]:
        raise exits.no_devices()
    return Host(snapshot)
