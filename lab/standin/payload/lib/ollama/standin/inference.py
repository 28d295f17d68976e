"""One answer of a model: options checked, model loaded, words paced as its GPU would.

Shared by the native and the OpenAI routes; knows no shape of either.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from . import faults, text
from .app import App
from .durations import keep_alive_of_request, nanoseconds
from .exchange import ApiError, Exchange
from .loaded import Loaded
from .model import Model
from .runner import ClientGoneError, RunnerDiedError
from .tools import TOKENS_OF_A_CALL, sample

PROMPT_SPEEDUP = 20  # reading a prompt is faster than writing an answer
POLL_S = 0.05
ANY_JSON = {"type": "object", "required": ["answer"]}
INTEGER_OPTIONS = ("num_ctx", "num_predict", "num_batch", "num_gpu", "num_thread", "seed", "top_k")


@dataclass
class Timing:
    """What the last record of an answer tells about it."""

    started_s: float = field(default_factory=time.perf_counter)
    started_at: float = field(default_factory=time.time)  # Unix time
    load_s: float = 0.0
    prompt_tokens: int = 0
    prompt_s: float = 0.0
    tokens: int = 0
    tokens_s: float = 0.0

    def as_json(self) -> dict[str, int]:
        figures = {
            "total_duration": nanoseconds(time.perf_counter() - self.started_s),
            "load_duration": nanoseconds(self.load_s),
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": nanoseconds(self.prompt_s),
            "eval_count": self.tokens,
            "eval_duration": nanoseconds(self.tokens_s),
        }
        return {key: value for key, value in figures.items() if value}


@dataclass
class Answer:
    """A question to a model, and the figures of its answer while it comes."""

    app: App
    exchange: Exchange
    model: Model
    options: dict[str, Any]
    keep_alive_s: float | None
    schema: object = None  # of the JSON that the answer has to be
    image_tokens: int = 0
    timing: Timing = field(default_factory=Timing)

    @property
    def limit(self) -> int | None:
        return self.options.get("num_predict")

    @property
    def done_reason(self) -> str:
        is_cut = self.limit and 0 < self.limit <= self.timing.tokens
        return "length" if is_cut else "stop"

    def load(self) -> None:
        """Only bring the model into memory."""
        with self._use():
            pass

    def tokens(self, prompt: str) -> Generator[str, None, None]:
        """The words of the answer, each when it is due; nothing before the model is loaded."""
        with self._use() as loaded, self._slot(loaded):
            self.app.scheduler.ensure_reachable(loaded)
            rate = self._faults().limited(loaded.placement.tokens_per_s)
            self._read_prompt(prompt, loaded, rate)
            begun_s = time.perf_counter()
            for token in self._words():
                self.timing.tokens += 1
                self._wait(begun_s + self.timing.tokens / rate, loaded)
                # What the simulated GPU took, however busy the machine is that simulates it.
                self.timing.tokens_s = self.timing.tokens / rate
                yield token

    def _words(self) -> Iterator[str]:
        if self.schema is None:
            return text.tokens(str(self.model.name), self.limit)
        return text.json_tokens(sample(self.schema), self.limit)

    def embed(self, inputs: list[str]) -> list[list[float]]:
        with self._use() as loaded, self._slot(loaded):
            self.app.scheduler.ensure_reachable(loaded)
            self.timing.prompt_tokens = sum(map(text.count_tokens, inputs))
            return [text.embedding(entry, self.model.embedding_length) for entry in inputs]

    def _faults(self) -> faults.Faults:
        return faults.read(self.app.scheduler.driver, self.app.settings.address.port)

    @contextmanager
    def _use(self) -> Iterator[Loaded]:
        while (found := self._faults()).is_hung:
            self._leave_if_alone()
            time.sleep(POLL_S)
        gone, crash = self.exchange.client_gone, found.crashes_at_load
        use = self.app.scheduler.use(self.model, self.options, self.keep_alive_s, gone, crash)
        with use as loaded:
            self.timing.load_s = time.perf_counter() - self.timing.started_s
            yield loaded

    @contextmanager
    def _slot(self, loaded: Loaded) -> Iterator[None]:
        """One of the model's parallel slots; those who wait are not counted."""
        while not loaded.slots.acquire(timeout=POLL_S):
            self._leave_if_alone()
        try:
            yield
        finally:
            loaded.slots.release()

    def _read_prompt(self, prompt: str, loaded: Loaded, rate: float) -> None:
        begun_s = time.perf_counter()
        asked = text.count_tokens(prompt) + 1 + self.image_tokens
        self.timing.prompt_tokens = min(asked, loaded.options.context)
        self._wait(begun_s + self.timing.prompt_tokens / (rate * PROMPT_SPEEDUP), loaded)
        self.timing.prompt_s = time.perf_counter() - begun_s

    def _wait(self, due_s: float, loaded: Loaded) -> None:
        """Sleep until it is due, awake enough to see the client leave or the runner die."""
        while True:
            self._leave_if_alone()
            if not loaded.is_alive:
                raise RunnerDiedError("llama-server process has terminated: signal: killed")
            left_s = due_s - time.perf_counter()
            if left_s <= 0:
                return
            time.sleep(min(left_s, POLL_S))

    def _leave_if_alone(self) -> None:
        if self.exchange.client_gone():
            raise ClientGoneError


def unseen(words: Generator[str, None, None]) -> Iterator[str]:
    """Nothing, after the time in which a call of a tool is written."""
    for _ in islice(words, TOKENS_OF_A_CALL):
        pass
    words.close()
    return
    yield


def question(app: App, exchange: Exchange, request: dict[str, Any], capability: str) -> Answer:
    """A checked question: 404 for an unknown model, 400 for what cannot be asked of it."""
    model = app.model(request.get("model"))
    if capability == "completion" and capability not in model.capabilities:
        verb = exchange.handler.path.rstrip("/").rpartition("/")[2]
        raise ApiError(400, f'"{request["model"]}" does not support {verb}')
    if request.get("tools") and "tools" not in model.capabilities:
        raise ApiError(400, f"{model.name.full} does not support tools")
    options = {**model.parameters, **(request.get("options") or {})}
    for key in INTEGER_OPTIONS:
        value = options.get(key)
        if value is not None and (isinstance(value, bool) or value != _whole(value)):
            raise ApiError(400, f'option "{key}" must be of type integer')
    schema = schema_of(request.get("format"))
    return Answer(app, exchange, model, options, keep_alive(request), schema)


def schema_of(form: object) -> object:
    """The JSON schema of the native `format`, which may be just "json"; None for words."""
    if form in (None, ""):
        return None
    if form == "json":
        return ANY_JSON
    if isinstance(form, dict):
        return form
    raise ApiError(400, f'invalid format: {form!r}; expected "json" or a valid JSON Schema object')


def keep_alive(request: dict[str, Any]) -> float | None:
    value = request.get("keep_alive")
    try:
        return None if value is None else keep_alive_of_request(value)
    except ValueError as error:
        raise ApiError(400, str(error)) from error


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
