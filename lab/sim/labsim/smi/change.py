"""What nvidia-smi changes as a whole: persistence mode, MIG mode, and resetting a GPU."""

from __future__ import annotations

from typing import Any

from .. import client
from . import exits
from .view import Gpu

MODES = {"0": False, "DISABLED": False, "1": True, "ENABLED": True}
TERMINATING = "Terminating early due to previous errors.\n"
BUSY = (
    "{bus} is currently being used by one or more other processes (e.g. CUDA application or a "
    "monitoring application such as another instance of nvidia-smi). Please first kill all "
    "processes using the device and retry the command or reboot the system to make MIG mode "
    "effective."
)
REBOOT = "Reboot the system or try nvidia-smi --gpu-reset to make MIG mode effective on GPU {bus}"
NOT_RESET = (
    "The following GPUs could not be reset:\n  GPU {bus}: {reason}\n\n"
    "1 device is currently being used by one or more other processes (e.g., Fabric Manager, CUDA "
    "application, graphics application such as an X server, or a monitoring application such as "
    "another instance of nvidia-smi). Please first kill all processes using this device and all "
    "compute applications running in the system.\n"
)
NOT_PERSISTENT = (
    "\nWarning: persistence mode is disabled on device {bus}. See the Known Issues section of the "
    "nvidia-smi(1) man page for more information. Run with [--help | -h] switch to get more "
    "information on how to enable persistence mode."
)


def on_off(option: str, mode: str) -> bool:
    if mode.upper() not in MODES:
        raise exits.invalid_option(f"{option} {mode}")
    return MODES[mode.upper()]


def finish(gpus: list[Gpu]) -> int:
    """How every change of a setting ends."""
    for gpu in gpus:
        if not gpu.found["persistence"]:
            print(NOT_PERSISTENT.format(bus=gpu.bus_id))
    print("All done.")
    return exits.OK


def failed(text: str, reason: str) -> exits.Exit:
    return exits.Exit(exits.code_of(reason), f"{text}: {reason}\n{TERMINATING}")


def persistence_mode(gpus: list[Gpu], mode: str) -> int:
    enabled = on_off("-pm", mode)
    answer = client.ask("persistence", enabled=enabled, gpus=[gpu.uuid for gpu in gpus])
    if "error" in answer:
        raise failed(f"Unable to set persistence mode for GPU {gpus[0].bus_id}", answer["error"])
    for gpu in gpus:
        print(_persistence_line(gpu, enabled))
    print("All done.")
    return exits.OK


def _persistence_line(gpu: Gpu, enabled: bool) -> str:
    word = "Enabled" if enabled else "Disabled"
    if gpu.found["persistence"] == enabled:
        return f"Persistence mode is already {word} for GPU {gpu.bus_id}."
    return f"{word} persistence mode for GPU {gpu.bus_id}."


def mig_mode(gpus: list[Gpu], mode: str) -> int:
    """Where the card cannot be reset now the mode stays pending, and that is no failure."""
    enabled = on_off("-mig", mode)
    for gpu in gpus:
        _set_mig(gpu, "enable" if enabled else "disable", enabled)
    return finish([gpu for gpu in gpus if gpu.found["mig"]])


def _set_mig(gpu: Gpu, verb: str, enabled: bool) -> None:
    answer: dict[str, Any] = client.ask("mig-mode", gpu=gpu.uuid, enabled=enabled)
    reason = answer.get("error")
    if reason == "Not Supported":
        print(f"Unable to {verb} MIG Mode for GPU {gpu.bus_id}: {reason}")
        print("Treating as warning and moving on.")
    elif reason:
        raise failed(f"Unable to {verb} MIG Mode for GPU {gpu.bus_id}", reason)
    elif answer["outcome"] == "pending":
        state = f"MIG mode is in pending {verb} state"
        print(f"Warning: {state} for GPU {gpu.bus_id}:{answer['reason']}")
        hint = REBOOT if answer["reason"] == "Not Supported" else BUSY
        print(hint.format(bus=gpu.bus_id))
    else:
        print(f"{verb.title()}d MIG Mode for GPU {gpu.bus_id}")


def reset(gpus: list[Gpu]) -> int:
    for gpu in gpus:
        reason = client.ask("gpu-reset", gpu=gpu.uuid).get("error")
        if reason == "Not Supported":
            text = f"Resetting GPU {gpu.bus_id} is not supported.\n"
            raise exits.Exit(exits.NOT_AVAILABLE, text)
        if reason:
            text = NOT_RESET.format(bus=gpu.bus_id, reason=reason)
            raise exits.Exit(exits.OTHER, text)
        print(f"GPU {gpu.bus_id} was successfully reset.")
    print("All done.")
    return exits.OK
