"""nvidia-modprobe and modprobe of a lab host: they ask the driver for its nodes."""

from __future__ import annotations

import os
import sys

from . import client

REAL_MODPROBE = "/sbin/modprobe.real"  # where a diversion puts the distribution's own
GROUPS_OF_MODULE = {
    "nvidia": ["gpus", "control"],
    "nvidia-uvm": ["uvm"],
    "nvidia-modeset": ["modeset"],
    "nvidia-drm": ["modeset"],
    "nvidia-current": ["gpus", "control"],
    "nvidia-current-uvm": ["uvm"],
}


def nvidia_modprobe(arguments: list[str]) -> int:
    """-c takes any number of GPUs, also as -c=N; every known node of that kind is made."""
    which = {"control"}
    for argument in arguments:
        if argument.startswith(("-c", "--create-nvidia-device-file")):
            which.add("gpus")
        elif argument in ("-u", "--unified-memory"):
            which.add("uvm")
        elif argument in ("-m", "--modeset"):
            which.add("modeset")
    return 1 if _make(sorted(which)) else 0


def modprobe(arguments: list[str]) -> int:
    names = [argument for argument in arguments if not argument.startswith("-")]
    module = names[0].replace("_", "-") if names else ""
    if module not in GROUPS_OF_MODULE:
        return _real_modprobe(arguments)
    if _removes(arguments):
        return _fail(f"Module {names[0]} is in use.")
    if os.geteuid() != 0:
        return _fail(f"could not insert '{names[0]}': Operation not permitted")
    error = _make(GROUPS_OF_MODULE[module])
    return _fail(f"Module {names[0]} not found in directory /lib/modules") if error else 0


def _make(which: list[str]) -> str | None:
    """The reason why not, or None."""
    try:
        return client.ask("make-nodes", which=which).get("error")
    except client.NotLoadedError as error:
        return str(error)


def _removes(arguments: list[str]) -> bool:
    return any(argument in ("-r", "--remove") for argument in arguments)


def _real_modprobe(arguments: list[str]) -> int:
    """Without a real one, do as a kernel does that has the module built in: nothing."""
    if os.access(REAL_MODPROBE, os.X_OK):
        os.execv(REAL_MODPROBE, ["modprobe", *arguments])
    return 0


def _fail(text: str) -> int:
    print(f"modprobe: FATAL: {text}", file=sys.stderr)
    return 1
