"""What the kernel would show in /sys/bus/pci/devices, /proc/driver and /sys/module.

The three directories are bind mounts: their entries change, they themselves are never replaced.
"""

from __future__ import annotations

import os

from . import paths
from .kernel import NEEDS
from .machine import Machine, numa_node

Tree = dict[str, str]  # path → text, or LINK and where it leads
References = dict[str, int]

LINK = "link:"

PCI, PROC, MODULES = "pci", "proc-driver", "sys-module"

# A server has other PCI functions too, one of them a display of another vendor (the BMC's).
OTHER_PCI = {
    "0000:00:00.0": ("0x8086", "0x09a2", "0x060000"),
    "0000:00:1f.0": ("0x8086", "0x1b81", "0x060100"),
    "0000:02:00.0": ("0x1a03", "0x2000", "0x030000"),
    "0000:04:00.0": ("0x8086", "0x1563", "0x020000"),
}
NVSWITCH_DEVICE = {"Ampere": "0x1af1"}
NVSWITCH_DEVICE_HOPPER = "0x22a3"
# Where a card can be put beside those that are there.
FREE_SLOT, GTX_1080 = "0000:e1:00.0", "0x1b80"
BUILD = {
    "open": "NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (lab@lab)",
    "proprietary": "NVIDIA UNIX x86_64 Kernel Module  {version}",
}
BUILT_AT = "Tue Sep 23 09:55:41 UTC 2025"


def write(machine: Machine, references: References, capabilities: Tree | None = None) -> None:
    """Everything, as it is with the modules that are loaded now and their MIG capabilities."""
    _write(PCI, pci(machine), owned="")
    _write(PROC, {**proc_driver(machine), **(capabilities or {})}, owned="nvidia")
    write_modules(machine, references)


def write_modules(machine: Machine, references: References) -> None:
    _write(MODULES, modules(machine, references), owned=("nvidia", "nouveau"))


def write_unloaded(machine: Machine) -> None:
    """What is there before any driver is loaded, and after it has gone."""
    write(Machine(machine.hardware, machine.faults), {})


def pci(machine: Machine) -> Tree:
    functions = dict(OTHER_PCI)
    nodes_of = {
        short_bus_id(gpu): numa_node(gpu["index"], len(machine.cards)) for gpu in machine.cards
    }
    for gpu in machine.cards:
        bus, code = short_bus_id(gpu), gpu["pci_device_id"].lower()
        functions[bus] = ("0x10de", f"0x{code[2:6]}", pci_class(gpu))
        if pci_class(gpu) == "0x030000":
            functions[bus[:-1] + "1"] = ("0x10de", "0x1aef", "0x040300")
    functions.update(_nvswitches(machine))
    if "card-unsupported" in machine.faults:
        code = machine.faults["card-unsupported"].get("device", GTX_1080)
        functions[FREE_SLOT] = ("0x10de", str(code), "0x030000")
    tree: Tree = {}
    for bus, (vendor, device, kind) in functions.items():
        tree |= {f"{bus}/vendor": vendor, f"{bus}/device": device, f"{bus}/class": kind}
        tree[f"{bus}/numa_node"] = str(nodes_of.get(bus, 0))
    bound = next((name for name in ("nvidia", "nouveau") if name in machine.modules), None)
    if bound:
        cards = [short_bus_id(gpu) for gpu in machine.cards]
        tree |= {f"{bus}/driver": f"{LINK}../../drivers/{bound}" for bus in cards}
    return tree


def proc_driver(machine: Machine) -> Tree:
    if not machine.loaded:
        return {}
    build = BUILD[machine.flavour].format(version=machine.loaded_version)
    gcc = "gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)"
    tree = {
        "nvidia/version": f"NVRM version: {build}  {BUILT_AT}\nGCC version:  {gcc}",
        "nvidia/params": "ModifyDeviceFiles: 1\nEnableGpuFirmware: 18",
    }
    for gpu in machine.gpus:
        tree[f"nvidia/gpus/{short_bus_id(gpu)}/information"] = _information(machine, gpu)
    for bus in _nvswitches(machine):
        tree[f"nvidia-nvswitch/devices/{bus}/information"] = f"Bus Location: \t {bus}"
    return tree


def modules(machine: Machine, references: References) -> Tree:
    tree: Tree = {}
    for name, module in machine.modules.items():
        version = machine.loaded_version if name.startswith("nvidia") else module["version"]
        tree |= {f"{name}/version": version} if version else {}
        tree |= {f"{name}/initstate": "live"}
        tree[f"{name}/refcnt"] = str(references.get(name, 0))
        for needed in [NEEDS[name]] if NEEDS.get(name) else []:
            tree[f"{needed}/holders/{name}"] = f"{LINK}../../{name}"
    return tree


def short_bus_id(gpu: dict[str, str]) -> str:
    """`00000000:1A:00.0` as the kernel writes it: `0000:1a:00.0`."""
    return gpu["pci_bus_id"].lower()[-12:]


def pci_class(gpu: dict[str, str]) -> str:
    """Cards with a display output are VGA controllers, data-centre cards 3D controllers."""
    default = "0x030000" if "RTX" in gpu["name"] or "GeForce" in gpu["name"] else "0x030200"
    return gpu.get("pci_class", default)


def _nvswitches(machine: Machine) -> dict[str, tuple[str, str, str]]:
    architecture = machine.cards[0].get("architecture", "") if machine.cards else ""
    device = NVSWITCH_DEVICE.get(architecture, NVSWITCH_DEVICE_HOPPER)
    count = machine.hardware.get("nvswitch") or 0
    return {f"0000:{5 + n:02x}:00.0": ("0x10de", device, "0x068000") for n in range(count)}


def _information(machine: Machine, gpu: dict[str, str]) -> str:
    lines = {
        "Model:": ("\t\t ", gpu["name"]),
        "IRQ:": ("  \t\t ", str(120 + int(gpu["index"]))),
        "GPU UUID:": ("\t ", gpu["uuid"]),
        "Video BIOS:": ("\t ", gpu.get("vbios", "94.02.42.00.A5")),
        "Bus Type:": ("\t ", "PCIe"),
        "DMA Size:": ("\t ", "47 bits"),
        "DMA Mask:": ("\t ", "0x7fffffffffff"),
        "Bus Location:": ("\t ", short_bus_id(gpu)),
        "Device Minor:": ("\t ", str(gpu["minor"])),
        "GPU Firmware:": ("\t ", machine.loaded_version),
        "GPU Excluded:": ("\t ", "No"),
    }
    return "\n".join(f"{label} {gap}{value}" for label, (gap, value) in lines.items())


def _write(place: str, tree: Tree, owned: str | tuple[str, ...]) -> None:
    """Make the entries whose name starts with `owned` equal to the tree; leave all others."""
    root = f"{paths.HW}/{place}"
    os.makedirs(root, exist_ok=True)
    wanted = {f"{root}/{path}": _content(text) for path, text in tree.items()}
    _remove_others(root, set(wanted), owned)
    for path, text in wanted.items():
        if _text(path) != text:
            _replace(path, text)


def _content(text: str) -> str:
    return text if text.startswith(LINK) else text + "\n"


def _remove_others(root: str, keep: set[str], owned: str | tuple[str, ...]) -> None:
    tops = [f"{root}/{name}" for name in os.listdir(root) if name.startswith(owned)]
    for top in tops:
        for folder, folders, files in os.walk(top, topdown=False):
            for path in (f"{folder}/{name}" for name in [*files, *folders]):
                if path not in keep and (os.path.islink(path) or os.path.isfile(path)):
                    os.unlink(path)
            if not os.listdir(folder):
                os.rmdir(folder)


def _text(path: str) -> str | None:
    if os.path.islink(path):
        return LINK + os.readlink(path)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _replace(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    staged = f"{paths.HW}/.staged"
    if text.startswith(LINK):
        os.symlink(text.removeprefix(LINK), staged)
    else:
        with open(staged, "w", encoding="utf-8") as file:
            file.write(text)
    os.replace(staged, path)
