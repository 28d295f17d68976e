"""How a host watches its slices and repairs them: frozen values, made of an inventory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec


@dataclass(frozen=True)
class WatchPlan:
    """Every slice is asked for a token each `every_s` seconds, and has `timeout_s` for it, or
    `busy_timeout_s` while it serves others.

    `repairs`: the watchdog is there, and does at most `repairs_per_hour` things to one slice;
    `resets` GPUs among them. Models may take `load_timeout_s` to load. With a load average of more
    than `most_load` per CPU nothing is repaired because it is slow.
    """

    every_s: int = 10
    timeout_s: int = 30
    busy_timeout_s: int = 300
    repairs: bool = True
    repairs_per_hour: int = 3
    resets: bool = True
    load_timeout_s: int = 600
    most_load: int = 8


def watch_of(fleet: "Fleet", spec: "HostSpec") -> WatchPlan:
    """What an inventory asks of one host: the host's keys over the fleet's, key by key."""
    said: dict[str, Any] = {}
    for level in (fleet.watchdog, spec.watchdog):
        said |= {key: value for key, value in vars(level).items() if value is not None}
    renamed = {
        "repairs": said.pop("enabled", True),
        "resets": said.pop("reset_gpu", "auto") != "never",
    }
    return WatchPlan(**fleet.health.model_dump(), **renamed, **said)
