"""The native routes that run a model: generate, chat, embed; shapes only."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from . import media
from .app import App
from .conversation import of_native
from .durations import rfc3339
from .exchange import ApiError, Exchange
from .inference import Answer, question, unseen
from .tools import calls_for

Calls = Sequence[dict[str, Any]]

THINKING_TOKENS = 20


def generate(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    images = media.native_images(request)
    answer = question(app, exchange, request, "completion")
    answer.image_tokens = media.tokens_of(answer.model, images)
    prompt = str(request.get("prompt") or "")
    _reply(answer, request, prompt, lambda words, more: {"response": words, **more})


def chat(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    if not request.get("model"):
        raise ApiError(400, "model is required")
    conversation = of_native(request.get("messages") or [])
    answer = question(app, exchange, request, "completion")
    answer.image_tokens = media.tokens_of(answer.model, conversation.images)
    calls = calls_for(request)
    _reply(answer, request, conversation.prompt, _as_message, calls)


def _as_message(words: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": words, **more}}


def _reply(
    answer: Answer, request: dict[str, Any], prompt: str, shape: Any, calls: Calls = ()
) -> None:
    exchange = answer.exchange

    def record(words: str = "", thought: str = "", called: Calls = (), **more: Any) -> Any:
        head = {"model": request["model"], "created_at": rfc3339(time.time())}
        extras = {"thinking": thought, "tool_calls": called}
        kept = {key: value for key, value in extras.items() if value}
        return {**head, **shape(words, kept), "done": False, **more}

    if not prompt and answer.keep_alive_s == 0:
        answer.app.scheduler.unload(answer.model)
        return exchange.send_json(record(done=True, done_reason="unload"))
    if not prompt:
        answer.load()
        return exchange.send_json(record(done=True, done_reason="load"))
    thoughts, words = _spoken(answer, request, prompt, calls)
    if request.get("stream", True):
        for thought in thoughts:
            exchange.write_record(record(thought=thought))
        for word in words:
            exchange.write_record(record(word))
        if calls:
            exchange.write_record(record(called=calls))
        return exchange.write_record(_last(record(), answer))
    thought = "".join(thoughts)
    return exchange.send_json(_last(record("".join(words), thought, calls), answer))


def _spoken(
    answer: Answer, request: dict[str, Any], prompt: str, calls: Calls
) -> tuple[Iterator[str], Iterator[str]]:
    """The thoughts and then the words; a call is written by the model too, but shown as a whole."""
    words = answer.tokens(prompt)
    thoughts = islice(words, _thinking_tokens(answer, request))
    return thoughts, unseen(words) if calls else words


def _thinking_tokens(answer: Answer, request: dict[str, Any]) -> int:
    """A model that can think does so unless it is told not to; a short answer is all thought."""
    thinks = "thinking" in answer.model.capabilities and request.get("think") is not False
    return THINKING_TOKENS if thinks else 0


def _last(record: dict[str, Any], answer: Answer) -> dict[str, Any]:
    return {**record, "done": True, "done_reason": answer.done_reason, **answer.timing.as_json()}


def embed(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    answer = question(app, exchange, request, "embedding")
    vectors = answer.embed(inputs_of(request.get("input")))
    figures = answer.timing.as_json()
    shown = ("total_duration", "load_duration", "prompt_eval_count")
    kept = {key: figures[key] for key in shown if key in figures}
    exchange.send_json({"model": request["model"], "embeddings": vectors, **kept})


def embeddings(app: App, exchange: Exchange) -> None:
    """The older form: one prompt, one vector."""
    request = exchange.json_body()
    answer = question(app, exchange, request, "embedding")
    prompt = str(request.get("prompt") or "")
    exchange.send_json({"embedding": answer.embed([prompt])[0] if prompt else []})


def inputs_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if value is None or (isinstance(value, list) and all(isinstance(e, str) for e in value)):
        return list(value or [])
    raise ApiError(400, "invalid input type")
