"""Which GPUs this process may use: the driver's word, the device nodes, CUDA_VISIBLE_DEVICES.

All facts about GPUs come from the driver socket; must not import anything of the server.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0
CAPABILITIES = "nvidia-caps/"  # nodes that guard MIG instances: to be read, never written


@dataclass(frozen=True)
class Gpu:
    uuid: str
    index: int
    name: str
    pci_bus_id: str
    total_mib: int
    free_mib: int
    bandwidth_gb_s: float
    compute_cap: str
    library: str  # CUDA, or Vulkan for one that CUDA_VISIBLE_DEVICES was meant to hide
    nodes: tuple[str, ...]

    @property
    def is_mig(self) -> bool:
        return self.uuid.startswith("MIG-")


@dataclass(frozen=True)
class Driver:
    """The simulated kernel driver, as far as a process without privileges can see it."""

    socket_path: str
    dev: Path

    def ask(self, operation: str) -> dict[str, Any]:
        """One answer of the driver; empty when there is no driver."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(self.socket_path)
                connection.sendall(json.dumps({"op": operation}).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = json.loads(answers.readline())
        except (OSError, ValueError):
            return {}
        return answer if isinstance(answer, dict) else {}

    def faults(self) -> dict[str, dict[str, Any]]:
        found = self.ask("devices").get("faults")
        return found if isinstance(found, dict) else {}

    def holds(self, pid: int) -> bool:
        """Whether the driver still counts memory for the process."""
        return any(entry["pid"] == pid for entry in self.ask("processes").get("processes", []))

    def opens(self, node: str) -> bool:
        access = os.O_RDONLY if node.startswith(CAPABILITIES) else os.O_RDWR
        try:
            os.close(os.open(self.dev / node, access | os.O_NOCTTY))
        except OSError:
            return False
        return True

    def openable(self) -> list[Gpu]:
        """The GPUs in PCI order whose nodes this process may open and that the driver can reach.

        In place of a GPU in MIG mode stand those of its instances that may be opened too.
        """
        answer = self.ask("devices")
        driver = answer.get("driver") or {}
        if not driver.get("loaded") or driver.get("mismatch") or not self.opens("nvidiactl"):
            return []
        found = [entry for entry in answer.get("gpus", []) if entry.get("state", "ok") == "ok"]
        found.sort(key=lambda entry: entry["index"])
        mine = [entry for entry in found if self.opens(f"nvidia{entry['minor']}")]
        return [gpu for entry in mine for gpu in self._devices_of(entry)]

    def has_uvm(self) -> bool:
        """CUDA needs the unified memory module, and on NVSwitch hosts a fabric that is set up
        (else its error 802); without, every device is missing."""
        driver = self.ask("devices").get("driver") or {}
        works = driver.get("uvm", True) and driver.get("fabric") != "In Progress"
        return bool(works) and self.opens("nvidia-uvm")

    def _devices_of(self, entry: dict[str, Any]) -> list[Gpu]:
        devices = entry.get("mig_devices")
        if devices is None:
            return [self._gpu(entry)]
        allowed = [device for device in devices if all(map(self.opens, device["nodes"]))]
        return [self._mig_device(entry, device) for device in allowed]

    def _mig_device(self, entry: dict[str, Any], device: dict[str, Any]) -> Gpu:
        whole = self._gpu(entry)
        caps = tuple(str(self.dev / name) for name in device["nodes"])
        instance = {
            "uuid": device["uuid"],
            "name": f"{whole.name} MIG {device['name']}",
            "total_mib": int(device["memory_total_mib"]),
            "free_mib": int(device["memory_free_mib"]),
            "bandwidth_gb_s": whole.bandwidth_gb_s * float(device["share"]),
            "nodes": whole.nodes + caps,
        }
        return Gpu(**{**vars(whole), **instance})

    def _gpu(self, entry: dict[str, Any]) -> Gpu:
        names = ("nvidiactl", "nvidia-uvm", f"nvidia{entry['minor']}")
        return Gpu(
            uuid=entry["uuid"],
            index=entry["index"],
            name=entry["name"],
            pci_bus_id=entry["pci_bus_id"],
            total_mib=int(entry["memory_total_mib"]),
            free_mib=int(entry["memory_free_mib"]),
            bandwidth_gb_s=float(entry["bandwidth_gb_s"]),
            compute_cap=str(entry["compute_cap"]),
            library="CUDA",
            nodes=tuple(str(self.dev / name) for name in names),
        )


def visible(gpus: list[Gpu], tokens: str | None) -> list[Gpu]:
    """What CUDA_VISIBLE_DEVICES leaves: an invalid token hides itself and all after it."""
    if tokens is None:
        return _of_one_process(_counted(gpus))
    chosen: list[Gpu] = []
    for token in (part.strip() for part in tokens.split(",")):
        match = _match(gpus, token)
        if match is None or match in chosen:
            break
        chosen.append(match)
    return _of_one_process(chosen)


def _counted(gpus: list[Gpu]) -> list[Gpu]:
    """What an index counts: of a GPU in MIG mode only the first instance."""
    first = {gpu.index: gpu for gpu in reversed(gpus)}
    return [gpu for gpu in gpus if first[gpu.index] is gpu]


def _of_one_process(gpus: list[Gpu]) -> list[Gpu]:
    """CUDA gives a process one MIG device, and no other GPU beside it."""
    if gpus and gpus[0].is_mig:
        return gpus[:1]
    return [gpu for gpu in gpus if not gpu.is_mig]


def _match(gpus: list[Gpu], token: str) -> Gpu | None:
    if token.isdecimal():
        counted = _counted(gpus)
        return counted[int(token)] if int(token) < len(counted) else None
    if not token.startswith(("GPU-", "MIG-")):
        return None
    matches = [gpu for gpu in gpus if gpu.uuid.lower().startswith(token.lower())]
    return matches[0] if len(matches) == 1 else None


def usable(driver: Driver, tokens: str | None, vulkan: bool) -> list[Gpu]:
    """The GPUs that this server finds now; with Vulkan on, hidden ones reappear through it."""
    openable = driver.openable()
    cuda = visible(openable, tokens) if openable and driver.has_uvm() else []
    if not vulkan:
        return cuda
    seen = {gpu.uuid for gpu in cuda}
    leaked = [gpu for gpu in openable if gpu.uuid not in seen and not gpu.is_mig]
    return cuda + [Gpu(**{**vars(gpu), "library": "Vulkan"}) for gpu in leaked]
