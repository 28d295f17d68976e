"""The settings that nvidia-smi changes on a GPU: power limit, clocks, ECC and compute mode."""

from __future__ import annotations

from typing import Any

from .. import client
from . import exits
from .change import TERMINATING, failed, finish, on_off
from .view import Gpu

COMPUTE_MODES = {
    "0": "Default",
    "DEFAULT": "Default",
    "1": "Exclusive_Process",
    "EXCLUSIVE_THREAD": "Exclusive_Process",
    "2": "Prohibited",
    "PROHIBITED": "Prohibited",
    "3": "Exclusive_Process",
    "EXCLUSIVE_PROCESS": "Exclusive_Process",
}
OLD_COMPUTE_MODES = ("1", "EXCLUSIVE_THREAD")
CLOCKS = {
    "-lgc": ("graphics_clock_mhz", "GPU clocks", "gpuClk"),
    "-lmc": ("memory_clock_mhz", "Memory clocks", "memClk"),
}
RESETS = {"-rgc": "graphics_clock_mhz", "-rmc": "memory_clock_mhz"}


def power_limit(gpus: list[Gpu], watts: str) -> int:
    try:
        wanted = float(watts)
    except ValueError:
        raise exits.invalid_option(f"-pl {watts}") from None
    for gpu in gpus:
        low, high = gpu.found["power_min_w"], gpu.found["power_max_w"]
        answer = _set(gpu, "power_limit_w", wanted)
        if "error" in answer:
            text = (
                f"Provided power limit {wanted:.2f} W is not a valid power limit which should be "
                f"between {low:.2f} W and {high:.2f} W for GPU {gpu.bus_id}\n{TERMINATING}"
            )
            raise exits.Exit(exits.INVALID_ARGUMENT, text)
        was = f"from {answer['before']:.2f} W"
        print(f"Power limit for GPU {gpu.bus_id} was set to {wanted:.2f} W {was}.")
    return finish(gpus)


def lock_clocks(gpus: list[Gpu], option: str, value: str) -> int:
    setting, words, short = CLOCKS[option]
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise exits.invalid_option(f"{option} {value}")
    low, high = int(parts[0]), int(parts[-1])
    if low > high:
        raise exits.invalid_option(f"{option} {value}")
    for gpu in gpus:
        _set(gpu, setting, [low, high])
        print(f'{words} set to "({short}Min {low}, {short}Max {high})" for GPU {gpu.bus_id}')
    return finish(gpus)


def reset_clocks(gpus: list[Gpu], option: str) -> int:
    for gpu in gpus:
        _set(gpu, RESETS[option], None)
    return finish(gpus)


def ecc_mode(gpus: list[Gpu], mode: str) -> int:
    """Takes effect when the card is reset or the host boots; until then it is pending."""
    enabled = on_off("-e", mode)
    word, changed = "Enabled" if enabled else "Disabled", False
    for gpu in gpus:
        answer = _set(gpu, "ecc", enabled)
        if "error" in answer:
            print(f"Changing ECC mode is not supported for GPU: {gpu.bus_id}.")
            print("Treating as warning and moving on.")
        elif gpu.found["ecc_pending"] == enabled:
            print(f"ECC support is already {word} for GPU {gpu.bus_id}.")
        else:
            changed = True
            print(f"{word} ECC support for GPU {gpu.bus_id}.")
    print("All done.")
    if changed:
        print("Reboot required.")
    return exits.OK


def compute_mode(gpus: list[Gpu], mode: str) -> int:
    wanted = COMPUTE_MODES.get(mode.upper())
    if wanted is None:
        raise exits.invalid_option(f"-c {mode}")
    if mode.upper() in OLD_COMPUTE_MODES:
        print("Warning: Exclusive_Thread was deprecated! Setting Exclusive_Process instead.")
    for gpu in gpus:
        reason = _set(gpu, "compute_mode", wanted).get("error")
        if reason:
            text = f"Unable to set the compute mode to {wanted.upper()} for GPU {gpu.bus_id}"
            raise failed(text, reason)
        if gpu.found["compute_mode"] == wanted:
            print(f"Compute mode is already set to {wanted.upper()} for GPU {gpu.bus_id}.")
        else:
            print(f"Set compute mode to {wanted.upper()} for GPU {gpu.bus_id}.")
    print("All done.")
    return exits.OK


def _set(gpu: Gpu, name: str, value: object) -> dict[str, Any]:
    return client.ask("setting", gpu=gpu.uuid, name=name, value=value)
