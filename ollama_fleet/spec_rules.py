"""Rules between keys that no single type can say: ports, names and GPUs of one host.

Each rule raises `rule_broken` with the place below the model at fault. Imports only pydantic.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from ollama_fleet.spec import HostSpec, SliceSpec

LOADER_PORT = 11433
RESERVED_NAMES = {"loader", "devices"}

# The plan sets these; a second value would make the slice something else than what was planned.
PLANNED_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "gpus",
    "OLLAMA_HOST": "port",
    "OLLAMA_CONTEXT_LENGTH": "context",
    "OLLAMA_NUM_PARALLEL": "parallel",
    "OLLAMA_KEEP_ALIVE": "keep_alive",
    "OLLAMA_KV_CACHE_TYPE": "kv_cache",
    "OLLAMA_FLASH_ATTENTION": "flash_attention",
    "OLLAMA_MODELS": None,
    "OLLAMA_NOPRUNE": None,
    "OLLAMA_VULKAN": None,
    "OLLAMA_NO_CLOUD": None,
    "CUDA_CACHE_PATH": None,
    "CUDA_DEVICE_ORDER": None,
    "HOME": None,
}
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)
SECRET_URL = re.compile(r"://[^/@\s]+:[^/@\s]+@")


def rule_broken(at: tuple[str | int, ...], what: str) -> PydanticCustomError:
    """An error at `at` below the model that is being validated; `what` says what to do, too."""
    return PydanticCustomError("rule", "{what}", {"what": what, "at": at})


def slice_rules(spec: "SliceSpec") -> None:
    """Check one slice by itself."""
    if spec.name in RESERVED_NAMES:
        raise rule_broken(("name",), f"'{spec.name}' is used by the fleet itself; choose another")
    if len(set(map(str, spec.gpus))) < len(spec.gpus):
        raise rule_broken(("gpus",), f"{spec.gpus} names a GPU twice; list each once")
    if spec.kv_cache != "f16" and spec.flash_attention is False:
        raise rule_broken(
            ("kv_cache",), f"{spec.kv_cache} needs flash attention; drop flash_attention: false"
        )
    for name, value in spec.env.items():
        _env_rule(name, str(value))


def host_rules(spec: "HostSpec") -> None:
    """Check the slices of one host against each other and against its GPUs."""
    for rule in (_names_differ, _ports_differ, _gpus_exist, _gpus_are_used_once):
        for error in rule(spec):
            raise error


def _env_rule(name: str, value: str) -> None:
    if name in PLANNED_VARIABLES:
        key = PLANNED_VARIABLES[name]
        hint = f"use `{key}:` instead" if key else "the fleet sets it; remove it here"
        raise rule_broken(("env", name), f"cannot be set by hand; {hint}")
    if SECRET_NAME.search(name) or SECRET_URL.search(value):
        raise rule_broken(
            ("env", name),
            "looks like a secret, and units are readable by everyone; put it into a file on the "
            "host and name that in `env_file:`",
        )
    if "\n" in value or "\r" in value or "\0" in value:
        raise rule_broken(("env", name), "holds a line break, which no unit can carry")


def _names_differ(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    seen: dict[str, int] = {}
    for index, item in enumerate(spec.slices):
        if item.name in seen:
            what = f"'{item.name}' is the name of slices[{seen[item.name]}] too; rename one"
            yield rule_broken(("slices", index, "name"), what)
        seen[item.name] = index


def _ports_differ(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    from ollama_fleet.spec import FIRST_RESERVED_PORT

    seen: dict[int, str] = {LOADER_PORT: "the model loader"}
    for index, item in enumerate(spec.slices):
        at = ("slices", index, "port")
        if item.port is None:
            continue
        if item.port >= FIRST_RESERVED_PORT:
            what = (
                f"{item.port} is in the range from {FIRST_RESERVED_PORT} up, from which Ollama "
                "itself takes ports; choose a lower one, such as 11434"
            )
            yield rule_broken(at, what)
        if item.port < 1024:
            yield rule_broken(at, f"{item.port} needs root to bind; choose 1024 or higher")
        if item.port in seen:
            yield rule_broken(at, f"{item.port} is used by {seen[item.port]} too; choose another")
        seen[item.port] = f"slice '{item.name}'"


def _gpus_exist(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    count = sum(gpu.count for gpu in spec.gpus) if spec.gpus is not None else None
    for index, item in enumerate(spec.slices):
        for position, gpu in enumerate(item.gpus):
            at = ("slices", index, "gpus", position)
            if isinstance(gpu, str) and not re.fullmatch(
                r"[Gg][Pp][Uu]-[0-9a-fA-F-]{36}|([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]",
                gpu,
            ):
                what = f"'{gpu}' is no index, UUID or PCI address; see `nvidia-smi -L`"
                yield rule_broken(at, what)
            if isinstance(gpu, int) and (gpu < 0 or (count is not None and gpu >= count)):
                has = f"GPUs 0–{count - 1}" if count else "no GPUs" if count == 0 else "0 and up"
                yield rule_broken(at, f"GPU {gpu} does not exist; the host has {has}")


def _gpus_are_used_once(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    seen: dict[str, str] = {}
    for index, item in enumerate(spec.slices):
        for gpu in map(str, item.gpus):
            if gpu in seen:
                what = f"GPU {gpu} is in slice '{seen[gpu]}' too; a GPU belongs to one slice"
                yield rule_broken(("slices", index, "gpus"), what)
            seen[gpu] = item.name
