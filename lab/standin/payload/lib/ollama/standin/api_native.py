"""The native routes that run a model: generate, chat, embed; shapes only."""

import time
from itertools import islice
from typing import Any

from .app import App
from .durations import rfc3339
from .exchange import ApiError, Exchange
from .inference import Answer, question

THINKING_TOKENS = 20


def generate(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    answer = question(app, exchange, request, "completion")
    prompt = str(request.get("prompt") or "")
    _reply(answer, request, prompt, lambda words, thought: {"response": words, **thought})


def chat(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    if not request.get("model"):
        raise ApiError(400, "model is required")
    answer = question(app, exchange, request, "completion")
    prompt = prompt_of(request.get("messages") or [])
    _reply(
        answer, request, prompt, lambda words, thought: {"message": {**_message(words), **thought}}
    )


def prompt_of(messages: list[dict[str, Any]]) -> str:
    """The text of a conversation."""
    if not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "messages must be objects")
    return "\n".join(str(message.get("content") or " ") for message in messages)


def _message(words: str) -> dict[str, str]:
    return {"role": "assistant", "content": words}


def _reply(answer: Answer, request: dict[str, Any], prompt: str, shape: Any) -> None:
    exchange = answer.exchange

    def record(words: str, thought: str = "", **more: object) -> dict[str, Any]:
        head = {"model": request["model"], "created_at": rfc3339(time.time())}
        thoughts = {"thinking": thought} if thought else {}
        return {**head, **shape(words, thoughts), "done": False, **more}

    if not prompt and answer.keep_alive_s == 0:
        answer.app.scheduler.unload(answer.model)
        return exchange.send_json(record("", done=True, done_reason="unload"))
    if not prompt:
        answer.load()
        return exchange.send_json(record("", done=True, done_reason="load"))
    words = answer.tokens(prompt)
    thoughts = islice(words, _thinking_tokens(answer, request))
    if request.get("stream", True):
        for thought in thoughts:
            exchange.write_record(record("", thought))
        for word in words:
            exchange.write_record(record(word))
        return exchange.write_record(_last(record(""), answer))
    thought = "".join(thoughts)
    return exchange.send_json(_last(record("".join(words), thought), answer))


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
