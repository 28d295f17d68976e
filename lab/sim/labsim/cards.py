"""Which driver serves which card: the rules by PCI device id that decide about a real one."""

from __future__ import annotations

from typing import Any

FIRST_TURING = 0x1E00
FIRST_BLACKWELL = 0x2900
GRACE_HOPPER = {0x2342, 0x2348}
LAST_BRANCH_BEFORE_TURING = 580
FIRST_BRANCH_OF_BLACKWELL = 570


def device_id(gpu: dict[str, Any]) -> int:
    return int(gpu["pci_device_id"][2:6], 16)


def refusal(gpu: dict[str, Any], module: dict[str, Any]) -> str | None:
    """Why a loaded driver does not bring this card up, as the kernel log says it."""
    version, flavour = module["version"], module["flavour"]
    device, branch = device_id(gpu), int(version.split(".")[0])
    bus = gpu["pci_bus_id"].lower()[-12:]
    if module.get("no_devices"):
        return _failed(bus, device, f"does not start with the {version} driver", "0x62:0xffff")
    if device < FIRST_TURING and branch > LAST_BRANCH_BEFORE_TURING:
        return (
            f"NVRM: The NVIDIA GPU {bus} (PCI ID: 10de:{device:04x}) is supported through the "
            f"NVIDIA {LAST_BRANCH_BEFORE_TURING}.xx Legacy drivers; the {version} driver ignores it"
        )
    if device < FIRST_TURING and flavour == "open":
        return _failed(bus, device, "not supported by open nvidia.ko (no GSP)", "0x22:0x56:894")
    if _wants_open(device) and flavour != "open":
        return _failed(bus, device, "requires use of the NVIDIA open kernel modules", "0x22:0x56")
    if device >= FIRST_BLACKWELL and branch < FIRST_BRANCH_OF_BLACKWELL:
        return _failed(bus, device, f"not supported by the {version} driver", "0x22:0x56")
    return None


def _wants_open(device: int) -> bool:
    return device >= FIRST_BLACKWELL or device in GRACE_HOPPER


def _failed(bus: str, device: int, why: str, code: str) -> str:
    return (
        f"NVRM: The NVIDIA GPU {bus} (PCI ID: 10de:{device:04x}) {why}.\n"
        f"NVRM: GPU {bus}: RmInitAdapter failed! ({code})"
    )
