"""How nvidia-smi ends: its exit codes and the message that goes with each (all on stdout)."""

from __future__ import annotations

OK = 0
INVALID_ARGUMENT = 2
NOT_AVAILABLE = 3
NO_PERMISSION = 4
NOT_FOUND = 6
NOT_LOADED = 9
GPU_LOST = 15
VERSION_MISMATCH = 18


class Exit(SystemExit):
    """Ends the program with this code after printing this text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = code, text


def not_loaded() -> Exit:
    return Exit(
        NOT_LOADED,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
        "Make sure that the latest NVIDIA driver is installed and running.\n\n",
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
