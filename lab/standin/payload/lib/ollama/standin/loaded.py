"""One model in memory: its process, who uses it, when it expires; locking is the scheduler's."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from .durations import FOREVER_S
from .model import Model
from .placement import Placement
from .runner import Runner

RUNNER_OPTIONS = ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")


@dataclass(frozen=True)
class LoadOptions:
    """The options that live in the runner: another value of any means unload and reload."""

    context: int
    parallel: int
    others: tuple[Any, ...]


def load_options(
    model: Model, options: dict[str, Any], default_context: int, parallel: int
) -> LoadOptions:
    context = int(options.get("num_ctx") or default_context)
    return LoadOptions(
        context=min(context, model.context_max),
        parallel=1 if "embedding" in model.capabilities else parallel,
        others=tuple(options.get(key) for key in RUNNER_OPTIONS),
    )


@dataclass
class Loaded:
    model: Model
    options: LoadOptions
    placement: Placement
    keep_alive_s: float
    runner: Runner | None = None  # None while it loads
    users: int = 0
    last_used_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.slots = threading.BoundedSemaphore(self.options.parallel)

    @property
    def is_loading(self) -> bool:
        return self.runner is None

    @property
    def is_idle(self) -> bool:
        return not self.is_loading and self.users == 0

    @property
    def is_alive(self) -> bool:
        return self.runner is not None and self.runner.is_alive

    @property
    def expires_s(self) -> float:
        """When it goes, in wall-clock seconds; a used one counts from now."""
        since = self.last_used_s if self.is_idle else time.time()
        return since + self.keep_alive_s if self.keep_alive_s != FOREVER_S else FOREVER_S

    def fits(self, model: Model, options: LoadOptions) -> bool:
        """Whether a request for the model can use this process as it is."""
        return self.is_alive and self.model.path == model.path and self.options == options

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.placement.size_bytes,
            "size_vram": self.placement.size_vram_bytes,
            "context_length": self.options.context,
        }
