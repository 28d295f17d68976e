"""The running kernel: which modules are loaded, what loads at boot, who holds them.

It decides as modprobe and insmod would; the texts of its refusals are theirs. It does not know
GPUs, memory or sockets.
"""

from __future__ import annotations

from typing import Any

from . import disk, kernel_log, paths, secure_boot

Module = dict[str, Any]
NEEDS = {"nvidia": "", "nvidia_modeset": "nvidia", "nvidia_uvm": "nvidia"}
NEEDS["nvidia_drm"] = "nvidia_modeset"
ALIASES = {"nvidia_current": "nvidia", "nvidia_current_uvm": "nvidia_uvm"}
NOUVEAU = "nouveau"


class KernelError(Exception):
    """A module that cannot be loaded or removed; its text begins with modprobe's FATAL or ERROR."""


class Kernel:
    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self.users = 0  # processes that hold the device nodes open
        self.memory_users = 0  # those of them with unified memory

    def boot(self, hardware: dict[str, Any], faults: dict[str, Any]) -> None:
        """As far as udev and systemd-modules-load go by themselves."""
        if "mok-enrolled" in faults:
            secure_boot.confirm_requests()
        if hardware.get("nouveau") and not _keeps_nouveau_out():
            self.modules[NOUVEAU] = {"version": "", "flavour": ""}
            return
        settings = disk.settings("modprobe.d")
        found_by_udev = [n for n in ("nvidia", "nvidia-drm") if not disk.blacklists(settings, n)]
        for name in (*found_by_udev, *disk.wanted_at_boot()):
            if canonical(name) in NEEDS and disk.find_module(name):
                self._try(name, hardware, faults)

    def load(self, name: str, hardware: dict[str, Any], faults: dict[str, Any]) -> None:
        """The module, what it needs and what is to follow it."""
        if canonical(name) == "nvidia_uvm" and "uvm-missing" in faults:
            raise _not_found(name)
        if canonical(name) not in self.modules:
            self._load(name, hardware, faults)
        if canonical(name) == "nvidia":
            for follower in disk.wanted_after_nvidia():
                if canonical(follower) in NEEDS and canonical(follower) not in self.modules:
                    self._try(follower, hardware, faults)

    def unload(self, name: str) -> None:
        """Only this module; KernelError with rmmod's words."""
        module = canonical(name)
        if module not in self.modules:
            raise KernelError(f"ERROR: Module {name} is not currently loaded")
        if holders := self.holders(module):
            raise KernelError(f"ERROR: Module {name} is in use by: {' '.join(holders)}")
        if self.references(module):
            raise KernelError(f"ERROR: Module {name} is in use")
        del self.modules[module]

    def holders(self, module: str) -> list[str]:
        return [name for name, needed in NEEDS.items() if needed == module and name in self.modules]

    def references(self, module: str) -> int:
        own = {"nvidia": self.users, "nvidia_uvm": self.memory_users, NOUVEAU: 1}
        return len(self.holders(module)) + own.get(module, 0)

    def _load(self, name: str, hardware: dict[str, Any], faults: dict[str, Any]) -> None:
        module = canonical(name)
        if module not in NEEDS or (path := disk.find_module(module)) is None:
            raise _not_found(name)
        if NOUVEAU in self.modules:
            raise KernelError(f"ERROR: could not insert '{name}': No such device")
        found = _read(name, path)
        if hardware.get("secure_boot") and not secure_boot.accepts(found):
            kernel_log.write("Loading of module with unavailable key is rejected")
            raise KernelError(f"ERROR: could not insert '{name}': Key was rejected by service")
        if (needed := NEEDS[module]) and needed not in self.modules:
            self._load(needed, hardware, faults)
        if needed and self.modules[needed]["version"] != found["version"]:
            kernel_log.write(f"{module}: disagrees about version of symbol nvidia_register_module")
            raise KernelError(f"ERROR: could not insert '{name}': Invalid argument")
        self.modules[module] = found
        if module == "nvidia":
            kernel_log.write(f"nvidia: loading NVIDIA {found['flavour']} module {found['version']}")

    def _try(self, name: str, hardware: dict[str, Any], faults: dict[str, Any]) -> None:
        try:
            self.load(name, hardware, faults)
        except KernelError as error:
            kernel_log.write(f"{name}: {error}")


def canonical(name: str) -> str:
    """As /sys/module writes it."""
    module = name.replace("-", "_")
    return ALIASES.get(module, module)


def _keeps_nouveau_out() -> bool:
    """The initramfs loads it early; what it leaves out, udev loads from the disk's settings."""
    return all(
        disk.blacklists(text, NOUVEAU) for text in (disk.initramfs(), disk.settings("modprobe.d"))
    )


def _not_found(name: str) -> KernelError:
    return KernelError(f"FATAL: Module {name} not found in directory /lib/modules/{paths.KERNEL}")


def _read(name: str, path: str) -> Module:
    try:
        return disk.read_module(path)
    except (OSError, ValueError):
        raise KernelError(f"ERROR: could not insert '{name}': Exec format error") from None
