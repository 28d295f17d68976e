"""What the environment tells the server, read as the real one reads it, and only here."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .durations import keep_alive_of_environment

DEFAULT_PORT = 11434
DEFAULT_KEEP_ALIVE_S = 300.0
TRUE_WORDS = {"1", "t", "true"}
FALSE_WORDS = {"0", "f", "false"}


@dataclass(frozen=True)
class Address:
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    address: Address
    home: Path
    models: Path
    keep_alive_s: float
    num_parallel: int
    context_length: int
    max_loaded_models: int
    max_queue: int
    kv_cache_type: str
    no_prune: bool
    vulkan: bool
    no_cloud: bool
    cuda_visible_devices: str | None
    origins: tuple[str, ...]
    driver_socket: str
    dev: Path
    shown: dict[str, str] = field(default_factory=dict)


class NoHomeError(Exception):
    """HOME is not set, which the real server panics on."""


def warn(message: str) -> None:
    print(f'level=WARN msg="{message}"', file=sys.stderr, flush=True)


def clean(environment: Mapping[str, str], key: str) -> str:
    return environment.get(key, "").strip().strip("\"'")


def flag(environment: Mapping[str, str], key: str, default: str) -> bool:
    """A boolean; text that is neither true nor false counts as true."""
    return (clean(environment, key) or default).lower() not in FALSE_WORDS


def count(environment: Mapping[str, str], key: str, default: int) -> int:
    text = clean(environment, key)
    if text.isdecimal():
        return int(text)
    if text:
        warn(f"invalid environment variable, using default key={key} value={text}")
    return default


def address(text: str) -> Address:
    """OLLAMA_HOST: the port is 11434, or 80 and 443 when a scheme was written."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest, default = "http", text, DEFAULT_PORT
    else:
        default = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
    rest = rest.partition("/")[0]
    host, port_text = split_host_port(rest)
    if port_text and not (port_text.isdecimal() and int(port_text) < 65536):
        warn(f"invalid port, using default port={port_text} default={default}")
        port_text = ""
    return Address(scheme, host, int(port_text) if port_text else default)


def split_host_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    if text.count(":") > 1:  # a bare IPv6 address
        return text, ""
    host, separator, port = text.partition(":")
    return (host if separator else host or "127.0.0.1"), port


def read(environment: Mapping[str, str]) -> Settings:
    home_text = environment.get("HOME", "")
    models_text = clean(environment, "OLLAMA_MODELS")
    if not home_text:
        raise NoHomeError
    return Settings(
        address=address(clean(environment, "OLLAMA_HOST")),
        home=Path(home_text),
        models=Path(models_text or f"{home_text}/.ollama/models"),
        keep_alive_s=keep_alive(clean(environment, "OLLAMA_KEEP_ALIVE")),
        num_parallel=max(1, count(environment, "OLLAMA_NUM_PARALLEL", 1)),
        context_length=count(environment, "OLLAMA_CONTEXT_LENGTH", 0),
        max_loaded_models=count(environment, "OLLAMA_MAX_LOADED_MODELS", 0),
        max_queue=count(environment, "OLLAMA_MAX_QUEUE", 512),
        kv_cache_type=clean(environment, "OLLAMA_KV_CACHE_TYPE") or "f16",
        no_prune=flag(environment, "OLLAMA_NOPRUNE", "false"),
        vulkan=flag(environment, "OLLAMA_VULKAN", "true"),
        no_cloud=flag(environment, "OLLAMA_NO_CLOUD", "false"),
        cuda_visible_devices=environment.get("CUDA_VISIBLE_DEVICES"),
        origins=tuple(filter(None, clean(environment, "OLLAMA_ORIGINS").split(","))),
        driver_socket=environment.get("LAB_DRIVER_SOCKET", "/run/lab-driver.sock"),
        dev=Path(environment.get("LAB_DEV", "/dev")),
        shown={key: value for key, value in environment.items() if key.startswith("OLLAMA_")},
    )


def keep_alive(text: str) -> float:
    seconds = keep_alive_of_environment(text) if text else None
    return DEFAULT_KEEP_ALIVE_S if seconds is None else seconds


def of_process() -> Settings:
    return read(os.environ)
