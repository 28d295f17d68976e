"""What the kernel log says when a driver loads or a fault strikes."""

from __future__ import annotations

from . import kernel_log
from .machine import Machine

FALLEN_OFF_BUS = 79
MEANINGS = {
    48: "Double Bit ECC Error",
    74: "NVLink error",
    79: "GPU has fallen off the bus.",
    94: "Contained ECC error",
    95: "Uncontained ECC error",
}


def driver_loaded(machine: Machine) -> None:
    """A line for each card that this driver does not bring up."""
    if not machine.loaded:
        return
    for card in machine.cards:
        if reason := machine.refusal(card):
            kernel_log.write(reason)


def new_faults(before: Machine, now: Machine) -> None:
    """The Xid lines of faults that were switched on since."""
    codes = {"gpu-lost": FALLEN_OFF_BUS, "xid": now.faults.get("xid", {}).get("xid", 79)}
    for fault, code in codes.items():
        if fault not in now.faults or fault in before.faults:
            continue
        for gpu in (each for each in now.gpus if each["index"] in now.broken(fault)):
            bus = gpu["pci_bus_id"].lower()[-12:-2]
            meaning = MEANINGS.get(int(code), "unknown")
            kernel_log.write(f"NVRM: Xid (PCI:{bus}): {code}, pid='<unknown>', {meaning}")
