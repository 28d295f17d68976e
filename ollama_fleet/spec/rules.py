"""Rules between keys that no single type can say: ports, names and GPUs of one host.

Each rule raises `rule_broken` with the place below the model at fault. Imports only pydantic.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import HostSpec
    from ollama_fleet.spec.servers import SliceSpec, WishSpec

# llama-server's discovery child picks ports from here up without asking whether they are free
# (Ollama, discover/llama_server.go), so a slice there may lose its port at any start.
FIRST_RESERVED_PORT = 49152
FIRST_SLICE_PORT = 11434
LOADER_PORT = 11433
RESERVED_NAMES = {
    *("loader", "devices", "scrub", "selfcheck", "fetch-models", "fetch-release"),
    *("gateway", "balancer", "hop", "health", "firewall", "address", "address-check"),
    *("metrics", "metrics-door", "node-exporter", "mtail", "nginx-exporter", "dcgm-exporter"),
    *("certificates", "prometheus", "monitor-door", "watchdog"),
}
# ollama-warm-chat.service loads the models of the slice chat.
WARM_PREFIX = "warm-"

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
    _name_rule(spec.name, "name")
    if len(set(map(str, spec.gpus))) < len(spec.gpus):
        raise rule_broken(("gpus",), f"{spec.gpus} names a GPU twice; list each once")
    _server_rules(spec)


def wish_rules(spec: "WishSpec") -> None:
    """Check one wish by itself."""
    if not spec.all_models:
        raise rule_broken(("models",), "names no model; say what to serve, with `model:`")
    if len(set(spec.all_models)) < len(spec.all_models):
        raise rule_broken(("models",), "names a model twice; `replicas:` makes more slices of it")
    _name_rule(spec.title, "name")
    if spec.pool:
        _name_rule(spec.pool, "pool")
    if spec.pool and spec.gpus not in (None, 1):
        what = f"a pool packs models onto single GPUs; drop `pool:` to split over {spec.gpus}"
        raise rule_broken(("gpus",), what)
    if isinstance(spec.mig, str) and spec.gpus not in (None, 1):
        raise rule_broken(("gpus",), "no model can be split over MIG instances; drop `gpus:`")
    _server_rules(spec)


def host_rules(spec: "HostSpec") -> None:
    """Check the slices of one host against each other and against its GPUs."""
    for rule in (
        _names_differ,
        _ports_differ,
        _gpus_exist,
        _gpus_are_used_once,
        _kept_gpus_are_free,
        _neighbours_differ,
        _wishes_differ,
    ):
        for error in rule(spec):
            raise error


def _name_rule(name: str, key: str) -> None:
    if name in RESERVED_NAMES or name.startswith(WARM_PREFIX):
        raise rule_broken((key,), f"'{name}' is used by the fleet itself; choose another")


def _server_rules(spec: "SliceSpec | WishSpec") -> None:
    if spec.kv_cache != "f16" and spec.flash_attention is False:
        raise rule_broken(
            ("kv_cache",), f"{spec.kv_cache} needs flash attention; drop flash_attention: false"
        )
    for name, value in spec.env.items():
        _env_rule(name, str(value))


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
    seen: dict[int, str] = {LOADER_PORT: "the model loader"}
    for index, item in enumerate(spec.slices):
        at: tuple[str | int, ...] = ("slices", index, "port")
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
    count = spec.gpu_count
    for index, item in enumerate(spec.slices):
        for position, gpu in enumerate(item.gpus):
            at: tuple[str | int, ...] = ("slices", index, "gpus", position)
            if isinstance(gpu, str) and not re.fullmatch(
                r"[Gg][Pp][Uu]-[0-9a-fA-F-]{36}|([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]",
                gpu,
            ):
                what = f"'{gpu}' is no index, UUID or PCI address; see `nvidia-smi -L`"
                yield rule_broken(at, what)
            if isinstance(gpu, int) and (gpu < 0 or (count is not None and gpu >= count)):
                yield _no_such_gpu(at, gpu, count)
    for at, gpu in _kept_indexes(spec):
        if count is not None and gpu >= count:
            yield _no_such_gpu(at, gpu, count)


def _no_such_gpu(at: tuple[str | int, ...], gpu: int, count: int | None) -> PydanticCustomError:
    has = f"GPUs 0–{count - 1}" if count else "no GPUs" if count == 0 else "0 and up"
    return rule_broken(at, f"GPU {gpu} does not exist; the host has {has}")


def _kept_indexes(spec: "HostSpec") -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Every GPU index of the host that stands outside its slices, with its place."""
    for position, gpu in enumerate(spec.reserved):
        yield ("reserved", position), gpu
    for index, mig in enumerate(spec.mig):
        for position, gpu in enumerate(mig.gpus):
            yield ("mig", index, "gpus", position), gpu
    for index, item in enumerate(spec.gpu_settings):
        for position, gpu in enumerate(item.gpus):
            yield ("gpu_settings", index, "gpus", position), gpu
    for index, group in enumerate(spec.neighbours):
        for position, gpu in enumerate(group):
            yield ("neighbours", index, position), gpu


def _gpus_are_used_once(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    seen: dict[str, str] = {}
    for index, item in enumerate(spec.slices):
        for gpu in map(str, item.gpus):
            if gpu in seen:
                what = f"GPU {gpu} is in slice '{seen[gpu]}' too; a GPU belongs to one slice"
                yield rule_broken(("slices", index, "gpus"), what)
            seen[gpu] = item.name


def _kept_gpus_are_free(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    """A reserved GPU is in no slice, and one that is cut into instances neither."""
    kept = dict.fromkeys(spec.reserved, "reserved")
    for index, mig in enumerate(spec.mig):
        for position, gpu in enumerate(mig.gpus):
            if gpu in kept:
                at = ("mig", index, "gpus", position)
                yield rule_broken(at, f"GPU {gpu} is {kept[gpu]}; name it once")
            kept[gpu] = "cut into MIG instances, which only wishes use"
    for index, item in enumerate(spec.slices):
        for position, selector in enumerate(item.gpus):
            if selector in kept:
                at = ("slices", index, "gpus", position)
                yield rule_broken(at, f"GPU {selector} is {kept[selector]}; choose another")


def _neighbours_differ(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    for index, group in enumerate(spec.neighbours):
        if len(set(group)) < len(group):
            yield rule_broken(("neighbours", index), f"{group} names a GPU twice; list each once")


def _wishes_differ(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    for index, wish in enumerate(spec.wishes):
        if wish.hosts:
            what = "this wish belongs to its host already; drop it, or move the wish to the top"
            yield rule_broken(("wishes", index, "hosts"), what)
