"""What -q says of one GPU: the order of its sections, and what it is and where it sits."""

from __future__ import annotations

from .fields import LOST
from .report_items import Item, reader
from .report_mig import mig_devices
from .report_state import ecc, load, memory, processes, sensors
from .view import Gpu


def gpu_items(gpu: Gpu) -> list[Item]:
    if gpu.lost:
        return _lost_items(gpu)
    sections = (_identity, _mode, _recovery, _pci, load, memory, ecc, sensors, processes)
    return [item for section in sections for item in section(gpu)]


def _lost_items(gpu: Gpu) -> list[Item]:
    """The bus id is known from the PCI bus; all that the card itself would say is not."""
    text = LOST.strip("[]")
    figures: list[Item] = [(label, label.lower(), text) for label in ("Total", "Used", "Free")]
    return [
        ("Product Name", "product_name", text),
        ("GPU UUID", "uuid", text),
        ("Minor Number", "minor_number", text),
        ("GPU Recovery Action", "gpu_recovery_action", text),
        ("PCI", "pci", [("Bus Id", "pci_bus_id", gpu.bus_id)]),
        ("FB Memory Usage", "fb_memory_usage", figures),
        ("Processes", "processes", text),
    ]


def _identity(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    brand = "GeForce" if "GeForce" in gpu.name else "NVIDIA RTX" if "RTX" in gpu.name else "NVIDIA"
    return [
        ("Product Name", "product_name", gpu.name),
        ("Product Brand", "product_brand", brand),
        ("Product Architecture", "product_architecture", gpu.found.get("architecture", "N/A")),
        ("Display Mode", "display_mode", read("display_mode")),
        ("Display Active", "display_active", read("display_active")),
        ("Persistence Mode", "persistence_mode", read("persistence_mode")),
        ("Addressing Mode", "addressing_mode", read("addressing_mode")),
    ]


def _mode(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    return [
        (
            "MIG Mode",
            "mig_mode",
            [
                ("Current", "current_mig", read("mig.mode.current")),
                ("Pending", "pending_mig", read("mig.mode.pending")),
            ],
        ),
        ("MIG Devices", "mig_devices", mig_devices(gpu) or "None"),
        ("Accounting Mode", "accounting_mode", read("accounting.mode")),
        ("Serial Number", "serial", read("serial")),
        ("GPU UUID", "uuid", gpu.uuid),
        ("Minor Number", "minor_number", str(gpu.found["minor"])),
        ("VBIOS Version", "vbios_version", gpu.vbios),
        ("Compute Mode", "compute_mode", read("compute_mode")),
        ("GSP Firmware Version", "gsp_firmware_version", gpu.driver_version),
    ]


def _recovery(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    fabric: list[Item] = [
        ("State", "state", gpu.fabric_state or "N/A"),
        ("Status", "status", read("fabric.status")),
    ]
    return [
        ("GPU Recovery Action", "gpu_recovery_action", gpu.recovery_action),
        ("Fabric", "fabric", fabric),
    ]


def _pci(gpu: Gpu) -> list[Item]:
    read = reader(gpu)
    generation: list[Item] = [
        ("Max", "max_link_gen", read("pcie.link.gen.max")),
        ("Current", "current_link_gen", read("pcie.link.gen.current")),
    ]
    width: list[Item] = [
        ("Max", "max_link_width", read("pcie.link.width.max") + "x"),
        ("Current", "current_link_width", read("pcie.link.width.current") + "x"),
    ]
    link: list[Item] = [("PCIe Generation", "pcie_gen", generation)]
    link.append(("Link Width", "link_widths", width))
    return [
        (
            "PCI",
            "pci",
            [
                ("Bus", "pci_bus", read("pci.bus")),
                ("Device", "pci_device", read("pci.device")),
                ("Domain", "pci_domain", read("pci.domain")),
                ("Device Id", "pci_device_id", read("pci.device_id")),
                ("Bus Id", "pci_bus_id", gpu.bus_id),
                ("Sub System Id", "pci_sub_system_id", read("pci.sub_device_id")),
                ("GPU Link Info", "pci_gpu_link_info", link),
            ],
        )
    ]
