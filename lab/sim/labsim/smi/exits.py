"""How nvidia-smi ends: its exit codes and the message that goes with each (all on stdout)."""

from __future__ import annotations

OK = 0
INVALID_ARGUMENT = 2
NOT_AVAILABLE = 3
NO_PERMISSION = 4
NOT_FOUND = 6
NOT_LOADED = 9
NO_LIBRARY = 12
GPU_LOST = 15
VERSION_MISMATCH = 18
IN_USE = 19
INSUFFICIENT_RESOURCES = 23
OTHER = 255
CODES = {
    "Invalid Argument": INVALID_ARGUMENT,
    "Not Supported": NOT_AVAILABLE,
    "Insufficient Permissions": NO_PERMISSION,
    "Not Found": NOT_FOUND,
    "In use by another client": IN_USE,
    "Insufficient Resources": INSUFFICIENT_RESOURCES,
}


class Exit(SystemExit):
    """Ends the program with this code after printing this text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = code, text


def code_of(reason: str) -> int:
    """The exit codes are NVML's own numbers of its errors."""
    return CODES.get(reason, OTHER)


def not_loaded() -> Exit:
    return Exit(
        NOT_LOADED,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
        "Make sure that the latest NVIDIA driver is installed and running.\n\n",
    )


def no_library() -> Exit:
    return Exit(
        NO_LIBRARY,
        "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that "
        "the NVIDIA Display Driver is properly installed and present in your system.\n"
        "Please also try adding directory that contains libnvidia-ml.so to your system PATH.\n",
    )


def version_mismatch(library_version: str) -> Exit:
    short = ".".join(library_version.split(".")[:2])
    return Exit(
        VERSION_MISMATCH,
        "Failed to initialize NVML: Driver/library version mismatch\n"
        f"NVML library version: {short}\n",
    )


def no_devices() -> Exit:
    return Exit(NOT_FOUND, "No devices were found\n")


def unknown_field(name: str) -> Exit:
    return Exit(INVALID_ARGUMENT, f'Field "{name}" is not a valid field to query.\n\n')


def invalid_option(option: str) -> Exit:
    return Exit(
        INVALID_ARGUMENT,
        f"Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n"
        f"Unknown option: {option}\n",
    )
