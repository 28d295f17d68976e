"""The OpenAI-compatible routes: the same answers in other shapes, errors in theirs too."""

import base64
import json
import struct
import time
from typing import Any

from . import media
from .api_native import inputs_of
from .app import App
from .conversation import of_openai
from .exchange import ApiError, Exchange
from .inference import Answer, question, unseen
from .tools import calls_for, openai_calls

LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
ENCODINGS = ("", "float", "base64")


def models(app: App, exchange: Exchange) -> None:
    exchange.send_json({"object": "list", "data": [_model(app, n) for n in app.store.names()]})


def one_model(app: App, exchange: Exchange) -> None:
    model = app.model(exchange.parameter)
    exchange.send_json(_model(app, model.name))


def _model(app: App, name: Any) -> dict[str, Any]:
    created = int(app.store.modified_s(name))
    return {"id": str(name), "object": "model", "created": created, "owned_by": name.namespace}


def chat_completions(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    if not request.get("messages"):
        raise ApiError(400, "[] is too short - 'messages'")
    conversation = of_openai(request["messages"])
    answer = asked(app, exchange, {**request, "format": _format(request.get("response_format"))})
    answer.image_tokens = media.tokens_of(answer.model, conversation.images)
    calls = openai_calls(calls_for(request))
    _complete(answer, request, conversation.prompt or " ", Shape("chat.completion", calls))


def completions(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    prompt = " ".join(inputs_of(request.get("prompt")))
    _complete(asked(app, exchange, request), request, prompt or " ", Shape("text_completion", []))


def embeddings(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    encoding = str(request.get("encoding_format") or "").lower()
    if encoding not in ENCODINGS:
        known = "Supported values: ['float', 'base64']."
        raise ApiError(400, f"Invalid value for 'encoding_format' = {encoding}. {known}")
    if request.get("input") in (None, []):
        raise ApiError(400, "invalid input")
    answer = question(app, exchange, request, "embedding")
    vectors = answer.embed(inputs_of(request["input"]))
    shown = [_packed(vector) if encoding == "base64" else vector for vector in vectors]
    rows = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(shown)
    ]
    used = answer.timing.prompt_tokens
    usage = {"prompt_tokens": used, "total_tokens": used}
    exchange.send_json({"object": "list", "model": request["model"], "data": rows, "usage": usage})


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def asked(app: App, exchange: Exchange, request: dict[str, Any]) -> Answer:
    """The question of an OpenAI request, with its limit where the native routes have theirs."""
    limit = next((request[key] for key in LIMITS if request.get(key)), None)
    options = {} if limit is None else {"num_predict": limit}
    native = {**request, "options": options}
    return question(app, exchange, native, "completion")


def _format(wanted: object) -> object:
    """The native `format` of a `response_format`."""
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or {}).get("schema")
    return "json" if wanted.get("type") == "json_object" else None


class Shape:
    """How one kind of answer is written; a call of a tool takes the place of its words."""

    def __init__(self, kind: str, calls: list[dict[str, Any]]) -> None:
        self.kind, self.calls = kind, calls
        self.is_chat = kind == "chat.completion"

    def reason(self, answer: Answer) -> str:
        is_call = self.calls and answer.done_reason == "stop"
        return "tool_calls" if is_call else answer.done_reason

    def whole(self, words: str, reason: str) -> dict[str, Any]:
        if not self.is_chat:
            return {"index": 0, "text": words, "finish_reason": reason}
        called = {"tool_calls": self.calls} if self.calls else {}
        message = {"role": "assistant", "content": words, **called}
        return {"index": 0, "message": message, "finish_reason": reason}

    def piece(self, **delta: Any) -> dict[str, Any]:
        """A piece of a stream; a role is said once, with the first."""
        if self.is_chat:
            return {"index": 0, "delta": delta, "finish_reason": None}
        return {"index": 0, "text": delta["content"], "finish_reason": None}

    def end(self, reason: str) -> dict[str, Any]:
        empty: dict[str, Any] = {"delta": {}} if self.is_chat else {"text": ""}
        return {"index": 0, **empty, "finish_reason": reason}


def _complete(answer: Answer, request: dict[str, Any], prompt: str, shape: Shape) -> None:
    exchange, is_stream = answer.exchange, bool(request.get("stream"))
    head = {
        "id": f"{'chatcmpl' if shape.is_chat else 'cmpl'}-{id(answer) % 1000}",
        "object": shape.kind + (".chunk" if is_stream and shape.is_chat else ""),
        "created": int(time.time()),
        "model": request["model"],
        "system_fingerprint": "fp_ollama",
    }
    words = answer.tokens(prompt)
    spoken = unseen(words) if shape.calls else words
    if not is_stream:
        text = "".join(spoken)
        choice = shape.whole(text, shape.reason(answer))
        return exchange.send_json({**head, "choices": [choice], "usage": usage_of(answer)})
    role = {"role": "assistant"}
    for word in spoken:
        exchange.write_event(_text({**head, "choices": [shape.piece(**role, content=word)]}))
        role = {}
    if shape.calls:
        piece = shape.piece(**role, content="", tool_calls=shape.calls)
        exchange.write_event(_text({**head, "choices": [piece]}))
    exchange.write_event(_text({**head, "choices": [shape.end(shape.reason(answer))]}))
    if (request.get("stream_options") or {}).get("include_usage"):
        exchange.write_event(_text({**head, "choices": [], "usage": usage_of(answer)}))
    return exchange.write_event("[DONE]")


def usage_of(answer: Answer) -> dict[str, int]:
    read, written = answer.timing.prompt_tokens, answer.timing.tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _text(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
