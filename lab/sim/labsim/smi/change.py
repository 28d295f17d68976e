"""What nvidia-smi changes: persistence mode. MIG mode and reset answer as a card that refuses."""

from __future__ import annotations

from .. import client
from . import exits
from .view import Gpu

MODES = {"0": False, "DISABLED": False, "1": True, "ENABLED": True}


def persistence_mode(gpus: list[Gpu], mode: str) -> int:
    if mode.upper() not in MODES:
        raise exits.invalid_option(f"-pm {mode}")
    enabled = MODES[mode.upper()]
    answer = client.ask("persistence", enabled=enabled, gpus=[gpu.uuid for gpu in gpus])
    if "error" in answer:
        failed = f"Unable to set persistence mode for GPU {gpus[0].bus_id}: {answer['error']}\n"
        text = failed + "Terminating early due to previous errors.\n"
        raise exits.Exit(exits.NO_PERMISSION, text)
    for gpu in gpus:
        print(_persistence_line(gpu, enabled))
    print("All done.")
    return exits.OK


def _persistence_line(gpu: Gpu, enabled: bool) -> str:
    word = "Enabled" if enabled else "Disabled"
    if gpu.found["persistence"] == enabled:
        return f"Persistence mode is already {word} for GPU {gpu.bus_id}."
    return f"{word} persistence mode for GPU {gpu.bus_id}."


def mig_mode(gpus: list[Gpu]) -> int:
    for gpu in gpus:
        if gpu.mig_mode is not None:
            text = f"Unable to change MIG mode for GPU {gpu.bus_id}: not simulated by this lab\n"
            raise exits.Exit(exits.NOT_AVAILABLE, text)
        print(f"Unable to set MIG mode for GPU {gpu.bus_id}: Not Supported")
        print("Treating as warning and moving on.")
    print("All done.")
    return exits.OK


def reset(gpus: list[Gpu]) -> int:
    for gpu in gpus:
        if gpu.busy:
            text = f"GPU Reset couldn't run because GPU {gpu.bus_id} is in use by a process.\n"
            raise exits.Exit(255, text)
        print(f"GPU {gpu.bus_id} was successfully reset.")
    print("All done.")
    return exits.OK
