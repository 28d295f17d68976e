"""Which models are in memory: loading, sharing, evicting, expiring.

The only place that starts and ends runners; must not know HTTP.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import placement, runner
from .devices import Driver, Gpu, usable
from .loaded import Loaded, LoadOptions, load_options
from .model import Model
from .runner import ClientGoneError, RunnerDiedError
from .settings import Settings

POLL_S = 0.05
MODELS_PER_GPU = 3

ClientGone = Callable[[], bool]


class ServerBusyError(Exception):
    """Too many requests wait for a model to load."""


class LoadError(Exception):
    """The model cannot be loaded as asked."""


class Scheduler:
    def __init__(self, settings: Settings, driver: Driver, gpus: list[Gpu]) -> None:
        self.settings = settings
        self.driver = driver
        self.gpus = gpus  # found once, at start, as the real one does
        self.default_context = settings.context_length or placement.default_context(gpus)
        self._loaded: list[Loaded] = []
        self._waiting = 0
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one load at a time
        threading.Thread(target=self._expire_forever, daemon=True).start()

    @contextmanager
    def use(
        self,
        model: Model,
        options: dict[str, Any],
        keep_alive_s: float | None,
        gone: ClientGone,
        crash: bool = False,
    ) -> Iterator[Loaded]:
        """The model in memory, loaded first if need be, and kept there while it is used."""
        wanted = load_options(model, options, self.default_context, self.settings.num_parallel)
        loaded = self._join(model, wanted) if not crash else None
        loaded = loaded or self._queue(model, wanted, gone, crash)
        if keep_alive_s is not None:
            loaded.keep_alive_s = keep_alive_s
        try:
            yield loaded
        finally:
            with self._changed:
                loaded.users -= 1
                loaded.last_used_s = time.time()
                self._changed.notify_all()

    def unload(self, model: Model) -> None:
        """Let the model go as soon as nobody uses it; returns at once."""
        with self._changed:
            for loaded in self._loaded:
                if loaded.model.path == model.path:
                    loaded.keep_alive_s = 0.0
            self._changed.notify_all()

    def ensure_reachable(self, loaded: Loaded) -> None:
        """End a runner whose GPU fell off the bus, as its next CUDA call would."""
        lost = set(loaded.placement.mib_by_uuid) - {gpu.uuid for gpu in self._gpus_now()}
        if lost and loaded.runner:
            loaded.runner.end()
            raise RunnerDiedError("llama-server process has terminated: CUDA error: unknown error")

    def loaded(self) -> list[Loaded]:
        with self._changed:
            return list(self._loaded)

    def close(self) -> None:
        """End every runner; the driver frees their memory by itself."""
        runners = [loaded.runner for loaded in self._loaded if loaded.runner]
        for process in (entry.process for entry in runners):
            process.kill()
            process.wait()

    def _join(self, model: Model, wanted: LoadOptions) -> Loaded | None:
        with self._changed:
            for loaded in self._loaded:
                if loaded.fits(model, wanted):
                    loaded.users += 1
                    return loaded
        return None

    def _queue(self, model: Model, wanted: LoadOptions, gone: ClientGone, crash: bool) -> Loaded:
        with self._changed:
            if self._waiting >= self.settings.max_queue:
                raise ServerBusyError
            self._waiting += 1
        try:
            while not self._turn.acquire(timeout=POLL_S):
                if gone():
                    raise ClientGoneError
            try:
                joined = None if crash else self._join(model, wanted)
                return joined or self._load(model, wanted, gone, crash)
            finally:
                self._turn.release()
        finally:
            with self._changed:
                self._waiting -= 1

    def _load(self, model: Model, wanted: LoadOptions, gone: ClientGone, crash: bool) -> Loaded:
        if self.settings.kv_cache_type not in placement.KV_FACTOR:
            raise LoadError(f"Unsupported cache type: {self.settings.kv_cache_type}")
        self._make_room(model, wanted, gone)
        cells = wanted.context * wanted.parallel
        gpus = [] if wanted.others[1] == 0 else self._gpus_now()
        place = placement.place(model, gpus, cells, self.settings.kv_cache_type)
        loaded = Loaded(model, wanted, place, self.settings.keep_alive_s, users=1)
        with self._changed:
            self._loaded.append(loaded)
        try:
            self._start(loaded, gone, crash)
        except (RunnerDiedError, ClientGoneError, OSError):
            self._forget(loaded)
            raise
        return loaded

    def _start(self, loaded: Loaded, gone: ClientGone, crash: bool) -> None:
        options, place = loaded.options, loaded.placement
        process = runner.start(
            loaded.model.path, options.context, options.parallel, place, self.driver, crash
        )
        on_gpu = process.wait_until_loaded(gone)
        if place.is_on_gpu and not on_gpu:
            loaded.placement = place = placement.on_cpu(loaded.model, place)
        total = loaded.model.layers + 1
        log(f"load_tensors: offloaded {place.layers_on_gpu}/{total} layers to GPU")
        loaded.runner = process

    def _gpus_now(self) -> list[Gpu]:
        """The GPUs found at start, with the memory that is free now; a lost one is gone."""
        known = {gpu.uuid for gpu in self.gpus}
        if not known:
            return []
        found = usable(self.driver, self.settings.cuda_visible_devices, self.settings.vulkan)
        return [gpu for gpu in found if gpu.uuid in known]

    def _make_room(self, model: Model, wanted: LoadOptions, gone: ClientGone) -> None:
        """Evict what stands in the way, the least recently used first, and wait for busy ones."""
        while True:
            with self._changed:
                victim = self._victim(model, wanted)
                if victim and victim.is_idle:
                    self._loaded.remove(victim)
            if victim is None:
                return
            if victim.is_idle:
                end(victim)
            elif gone():
                raise ClientGoneError
            else:
                time.sleep(POLL_S)

    def _victim(self, model: Model, wanted: LoadOptions) -> Loaded | None:
        for loaded in self._loaded:
            if loaded.model.path == model.path or not loaded.is_alive:
                return loaded
        by_age = sorted(self._loaded, key=lambda entry: (entry.users > 0, entry.last_used_s))
        limit = self.settings.max_loaded_models or MODELS_PER_GPU * max(1, len(self.gpus))
        crowded = len(by_age) >= limit or self._is_tight(model, wanted)
        return by_age[0] if by_age and crowded else None

    def _is_tight(self, model: Model, wanted: LoadOptions) -> bool:
        free_mib = sum(gpu.free_mib for gpu in self._gpus_now())
        cells = wanted.context * wanted.parallel
        needed_mib = placement.predicted_mib(model, cells)
        return bool(free_mib) and needed_mib > placement.SINGLE_GPU_SHARE * free_mib

    def _forget(self, loaded: Loaded) -> None:
        with self._changed:
            if loaded in self._loaded:
                self._loaded.remove(loaded)
            self._changed.notify_all()

    def _expire_forever(self) -> None:
        while True:
            with self._changed:
                due = [entry for entry in self._loaded if self._is_due(entry)]
                for entry in due:
                    self._loaded.remove(entry)
                if not due:
                    self._changed.wait(self._sleep_s())
            for entry in due:
                end(entry)

    def _is_due(self, entry: Loaded) -> bool:
        return entry.is_idle and (entry.expires_s <= time.time() or not entry.is_alive)

    def _sleep_s(self) -> float:
        """Until the next expiry, or a second, after which dead runners are looked for again."""
        idle = [entry.expires_s - time.time() for entry in self._loaded if entry.is_idle]
        return max(0.01, min([1.0, *idle]))


def end(loaded: Loaded) -> None:
    if loaded.runner:
        loaded.runner.end()


def log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
